"""MLflow as the steps use it: embedded, as a server, and under KFP's plugin."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.errors import BadParameter, ServiceUnavailable
from components.tracking.runs import close_run, connect_mlflow, track


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_RUN_ID", "run-1")
    # A client sets this for the process; each test starts without.
    yield Path(os.environ["RECYCLE_HOME"])
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def fresh():
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def runs(client):
    experiment = client.get_experiment_by_name("recycle").experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment])}


def test_everything_stays_in_the_home(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with track("first") as tracker:
        tracker.text("hello", "a.txt")
    assert len(list((home / "mlartifacts").rglob("a.txt"))) == 2
    assert not (tmp_path / "mlruns").exists()


def test_two_runs_that_start_at_once_in_a_new_home_share_it(home):
    def begin(name):
        os.environ["RECYCLE_RUN_ID"] = name
        with track("step"):
            os._exit(0)

    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=begin, args=(f"run-{n}",)) for n in range(3)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0, 0]
    assert set(runs(connect_mlflow())) == {"run-0", "run-1", "run-2", "step"}


def test_a_pipeline_that_ended_stays_ended_when_a_side_branch_comes_later(home):
    with track("last") as tracker:
        tracker.end_pipeline()
    fresh()
    with track("side branch"):
        pass
    found = runs(connect_mlflow())
    assert found["run-1"].info.status == "FINISHED"
    assert found["side branch"].info.status == "FINISHED"


def test_a_failed_step_fails_the_pipeline_and_a_rerun_reopens_it(home):
    with pytest.raises(ZeroDivisionError), track("step"):
        _ = 1 / 0
    fresh()
    client = connect_mlflow()
    assert {run.info.status for run in runs(client).values()} == {"FAILED"}
    fresh()
    with track("step"):
        assert runs(client)["run-1"].info.status == "RUNNING"
    assert runs(client)["step"].info.status == "FINISHED"


def test_parameters_of_a_rerun_with_other_values_do_not_stop_it(home):
    with track("step") as tracker:
        tracker.params({"scale": 1})
    fresh()
    with track("step") as tracker:
        tracker.params({"scale": 2})
    run = runs(connect_mlflow())["step"]
    assert (run.data.params["scale"], run.data.tags["scale"]) == ("1", "2")


def test_under_kfps_plugin_its_run_is_used_and_its_parameters_are_left_to_it(home, monkeypatch):
    child, parent = plugin_runs(home)
    client = connect_mlflow()
    monkeypatch.setenv("MLFLOW_RUN_ID", child)
    with track("transfer") as tracker:
        tracker.params({"scale": "1"})
        tracker.tags({"gate": "passed"})
        tracker.end_pipeline()
    client.log_param(child, "scale", '"1"')
    assert client.get_run(parent).data.tags["gate"] == "passed"
    assert {client.get_run(run).info.status for run in (parent, child)} == {"RUNNING"}


def test_what_a_step_in_a_condition_of_a_nested_pipeline_tells_goes_to_the_pipelines_own_run(home, monkeypatch):
    nested, root = plugin_runs(home)
    client = connect_mlflow()
    experiment = client.get_run(root).info.experiment_id
    condition = client.create_run(experiment, tags={"mlflow.parentRunId": nested}).info.run_id
    task = client.create_run(experiment, tags={"mlflow.parentRunId": condition}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", task)
    with track("compare at the chosen scale") as tracker:
        assert tracker.root_id == root
        tracker.pipeline_metrics({"gain": 0.1})
        tracker.tags({"gate": "passed"})
        tracker.describe_pipeline("Moves `a_b` onto `c_d`.", {"scale": 1})
        tracker.name_pipeline("watch: nothing new")
    found = client.get_run(root)
    assert found.data.metrics == {"gain": 0.1}
    assert found.data.params == {"scale": "1"}
    assert (found.data.tags["gate"], found.data.tags["mlflow.note.content"]) == ("passed", "Moves `a_b` onto `c_d`.")
    assert found.info.run_name == "watch: nothing new"
    assert client.get_run(task).info.run_name == "compare at the chosen scale"
    assert all(not client.get_run(run).data.metrics for run in (nested, condition, task))


def fail(step, problem="λ is 7"):
    fresh()
    with pytest.raises(BadParameter), track(step):
        raise BadParameter(problem, hint="change it")


def test_why_a_step_failed_stands_beside_it_and_beside_the_pipeline(home):
    fail("transfer")
    said = {name: run.data.tags["failure"] for name, run in runs(connect_mlflow()).items()}
    assert said == dict.fromkeys(("transfer", "run-1"), "step 'transfer' failed: λ is 7")


def test_an_error_without_advice_of_its_own_is_told_with_its_kind(home):
    with pytest.raises(ZeroDivisionError), track("step"):
        _ = 1 / 0
    assert (
        runs(connect_mlflow())["step"].data.tags["failure"] == "step 'step' failed: ZeroDivisionError: division by zero"
    )


def test_a_step_that_was_stopped_has_not_failed(home):
    with pytest.raises(KeyboardInterrupt), track("step"):
        raise KeyboardInterrupt
    assert all("failure" not in run.data.tags for run in runs(connect_mlflow()).values())


def test_a_step_that_is_tried_again_takes_back_its_own_failure_only(home):
    fail("first")
    fail("second")
    fresh()
    with track("first"):
        pass
    found = runs(connect_mlflow())
    assert "failure" not in found["first"].data.tags
    assert "'second'" in found["run-1"].data.tags["failure"]
    assert (found["first"].info.status, found["run-1"].info.status) == ("FINISHED", "FAILED")
    fresh()
    with track("second"):
        assert all("failure" not in run.data.tags for run in runs(connect_mlflow()).values())


def test_a_branch_beside_a_step_that_failed_leaves_the_pipeline_failed(home):
    fail("fine-tune")
    fresh()
    with track("evaluate"):
        pass
    found = runs(connect_mlflow())
    assert {name: run.info.status for name, run in found.items()} == {
        "run-1": "FAILED",
        "fine-tune": "FAILED",
        "evaluate": "FINISHED",
    }
    assert "'fine-tune'" in found["run-1"].data.tags["failure"]


def test_a_step_that_was_stopped_reopens_the_pipeline_when_it_is_tried_again(home):
    with pytest.raises(KeyboardInterrupt), track("step"):
        raise KeyboardInterrupt
    fresh()
    with track("step"):
        assert {run.info.status for run in runs(connect_mlflow()).values()} == {"RUNNING"}


def test_a_pipeline_that_came_to_its_end_has_not_failed(home):
    fail("step")
    fresh()
    with track("register") as tracker:
        tracker.end_pipeline()
    pipeline = runs(connect_mlflow())["run-1"]
    assert (pipeline.info.status, "failure" in pipeline.data.tags) == ("FINISHED", False)


def test_no_secret_is_in_a_failure(home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_planted-secret")
    fail("save", "http://me:hunter22@hub refuses hf_planted-secret")
    said = runs(connect_mlflow())["save"].data.tags["failure"]
    assert said == "step 'save' failed: http://me:***@hub refuses ***"


def test_a_long_failure_is_cut_to_what_mlflow_takes(home):
    fail("step", "x" * 100_000)
    said = runs(connect_mlflow())["step"].data.tags["failure"]
    assert said.startswith("step 'step' failed: xxx")


def test_kfps_plugin_ends_its_own_runs_and_the_reason_is_added_to_them(home, monkeypatch):
    child, parent = plugin_runs(home)
    monkeypatch.setenv("MLFLOW_RUN_ID", child)
    fail("transfer")
    client = connect_mlflow()
    found = [client.get_run(run) for run in (child, parent)]
    assert {run.data.tags["failure"] for run in found} == {"step 'transfer' failed: λ is 7"}
    assert {run.info.status for run in found} == {"RUNNING"}
    with track("transfer"):
        pass
    assert all("failure" not in client.get_run(run).data.tags for run in (child, parent))


def plugin_runs(home):
    """A task's run and the pipeline's, as KFP's plugin opens them."""
    home.mkdir(parents=True)
    client = connect_mlflow()
    experiment = client.create_experiment("kfp")
    parent = client.create_run(experiment).info.run_id
    return client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id, parent


def test_what_a_killed_step_left_open_can_be_closed(home):
    program = (
        "import os, signal\nfrom components.tracking import step\n"
        "with step('doomed'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    close_run("run-1", "step 'doomed' was killed")
    found = runs(connect_mlflow())
    assert {name: (run.info.status, run.data.tags["failure"]) for name, run in found.items()} == dict.fromkeys(
        ("run-1", "doomed"), ("KILLED", "step 'doomed' was killed")
    )


def test_sigterm_is_told_to_mlflow(home):
    program = (
        "import os, signal, time\nfrom components.tracking.step_context import step\n"
        "with step('stopped'): os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == 128 + signal.SIGTERM
    assert {run.info.status for run in runs(connect_mlflow()).values()} == {"KILLED"}


def test_a_place_that_cannot_be_written_is_told_at_once(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/x.db")
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="/proc/nowhere"), track("step"):
        pass
    assert time.monotonic() - started < 20


def test_a_password_in_the_address_is_never_told(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter22@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServiceUnavailable) as caught, track("step"):
        pass
    assert "hunter22" not in str(caught.value)


def test_a_server_goes_down_in_the_middle(home, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{tmp_path}/server.db"),
            *("--artifacts-destination", str(tmp_path / "kept")),
        ],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with track("first") as tracker:
            tracker.text("hello", "a.txt")
        assert set(runs(MlflowClient(f"http://127.0.0.1:{port}"))) == {"run-1", "first"}
        assert len(list((tmp_path / "kept").rglob("a.txt"))) == 2
        with pytest.raises(ServiceUnavailable, match=str(port)):
            log_while_it_dies(server)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def log_while_it_dies(server):
    with track("second") as tracker:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        tracker.metrics({"loss": 1.0}, step=3)
        tracker.params({"a": 1})


def wait_for(address):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{address} did not come up")
