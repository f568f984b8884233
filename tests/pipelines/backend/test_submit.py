"""`recycle submit` and `recycle upload`, against a KFP that answers as a real one did."""

import inspect
import json
import re

import pytest
import yaml
from click.testing import CliRunner

from components.system import source_digest
from pipelines.backend.submission import run_name
from pipelines.cli.main import main
from pipelines.parts.catalogue import load_pipeline
from tests.support.fake_kfp import Fault, Step, events, failure


def called(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def recycle(*arguments, code=0):
    return called(*arguments, code=code).output


def document(*arguments, code=0):
    return json.loads(called(*arguments, "--json", code=code).stdout)


def refused(*arguments, told, code=1):
    output = recycle(*arguments, code=code)
    assert "What to do:" in output
    assert "Traceback" not in output
    for text in told:
        assert text in output
    return output


def run_of(kfp):
    (run,) = kfp.runs.values()
    return run.document


class TestARunThatGoesWell:
    def test_its_steps_are_shown_as_people_know_them(self, kfp):
        output = recycle("submit", "recycle")
        lines = [line.strip() for line in output.splitlines()]
        for name in ("resolve", "save source base", "transfer", "evaluate recycled", "compare", "register"):
            assert f"→ {name}" in lines
            assert f"✓ {name}  6 s" in lines
        assert not any(word in output for word in ("driver", "executor", "root", "(0)", "evaluate-2"))
        assert "Took" in output

    @pytest.mark.parametrize("tries", [True, False])
    def test_what_steps_say_is_read_from_the_logs_of_their_pods(self, kfp, tries):
        kfp.tries_of_everything = tries
        kfp.steps = {
            "resolve": Step(
                log=events("resolve", notes=("the tokenizers differ",), warning="the releases lie far apart")
            ),
            "compare": Step(
                log=events("compare", table="the table", passed=True, reason="0.5 ≥ 0.4", report="/minio/x", metrics={})
            ),
            "register": Step(
                log=events("register", model="recycled", version="3", aliases=["candidate", "champion"], uri="s3://b/x")
            ),
        }
        output = recycle("submit", "recycle")
        assert output.index("the releases lie far apart") > output.index("✓ resolve")
        for text in (
            "the tokenizers differ",
            "the table",
            "Gate passed: 0.5 ≥ 0.4",
            "Registered: recycled version 3 as candidate, champion",
            "Weights:    s3://b/x",
            "Report:     the artifact `report` of the step `compare`",
        ):
            assert text in output
        assert "/minio/x" not in output

    def test_for_programs(self, kfp):
        kfp.steps = {"compare": Step(log=events("compare", table="the table", passed=False, reason="no", metrics={}))}
        found = document("submit", "recycle", "-p", "scale=0.5")
        assert found["pipeline"] == "recycle"
        assert found["run_id"] == run_of(kfp)["run_id"]
        assert found["parameters"]["scale"] == "0.5"
        assert found["outcome"]["passed"] is False
        assert {"step": "transfer", "state": "succeeded", "seconds": 6.0} in found["steps"]

    def test_a_run_of_the_real_one_as_it_was(self, kfp):
        output = recycle("runs", "show", kfp.add_recorded_run("succeeded"))
        names = [line.split()[1:] for line in output.splitlines() if "✓" in line]
        assert [" ".join(name[:-2]) for name in names] == [
            "resolve",
            "save target",
            "save source",
            "save tuned",
            "transfer",
            "evaluate target",
            "evaluate recycled",
            "compare",
            "register",
            "notify",
        ]
        assert "fail-with" not in output
        assert "Took 121 s." in output


class TestARunThatFails:
    def test_the_steps_own_error_is_told(self, kfp):
        kfp.steps = {"transfer": Step(state="FAILED", log=failure("transfer", "no room at s3://b", "free some"))}
        output = refused("submit", "recycle", told=["step 'transfer' failed: no room at s3://b", "free some"])
        assert "✗ transfer  6 s\n      no room at s3://b" in output
        assert "compare" not in output

    def test_of_two_tasks_of_one_step_the_right_one_is_named(self, kfp):
        kfp.steps = {"evaluate-2": Step(state="FAILED", log=failure("evaluate recycled", "bad suite", "name another"))}
        refused("submit", "recycle", told=["step 'evaluate recycled' failed: bad suite"])

    def test_the_real_ones_log_as_it_was(self, kfp):
        told = ["step 'fail-with' failed", "target and source disagree on model.layers.0: [2, 3] against [3, 2]"]
        output = refused("runs", "show", kfp.add_recorded_run("failed"), told=told)
        assert "executor_input" not in output
        assert "launcher_v2.go" not in output
        assert "✓ notify" in output

    @pytest.mark.parametrize(
        ("log", "told"),
        [
            ('\nrecycle-event {"step": "transfer", "event": "started"}\n', "memory ran out"),
            (
                '\nrecycle-event {"step": "transfer", "event": "started"}\n'
                '\nrecycle-event {"step": "transfer", "event": "interrupted"}\n',
                "ended from outside",
            ),
            ('\nrecycle-event {"step": "transfer", "event": "started"}\nrecycle-event {"step": "tr', "memory ran out"),
            ("ModuleNotFoundError: No module named 'components'\n", "No module named 'components'"),
            (None, "it left no log"),
        ],
        ids=["killed", "interrupted", "cut off", "before the step", "no log"],
    )
    def test_a_step_that_could_not_say_why(self, kfp, log, told):
        kfp.steps = {"transfer": Step(state="FAILED", log=log)}
        refused("submit", "recycle", told=["step 'transfer' failed", told])

    def test_a_step_whose_pod_was_never_made(self, kfp):
        lines = (
            "I1123 20:17:08.567351      16 main.go:119] Setting log level",
            "F1123 20:17:09.5      16 main.go:77] no claim",
        )
        log = "\n".join(lines)
        kfp.steps = {"transfer": Step(state="FAILED", driver_fails=True, log=log)}
        output = refused("submit", "recycle", told=["step 'transfer' failed", "no claim"])
        assert "Setting log level" not in output

    def test_a_run_that_somebody_stopped(self, kfp):
        output = refused("runs", "show", kfp.add_recorded_run("stopped"), told=["was stopped"])
        assert "log" not in output

    def test_a_program_is_told_too(self, kfp):
        kfp.steps = {"transfer": Step(state="FAILED", log=failure("transfer", "no room", "free some"))}
        found = document("submit", "recycle", code=1)
        assert found["error"] == "ProgramFailed"
        assert "no room" in found["problem"]


class TestWhatIsUploaded:
    def test_a_pipeline_that_kfp_lacks_is_made_and_explained(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        (pipeline,) = kfp.pipelines.values()
        ((version,),) = kfp.versions.values()
        explained = load_pipeline("recycle").description
        assert (pipeline["name"], pipeline["description"]) == ("recycle", explained)
        told = f"Recycle `{version['name']}`: `cpu, images on the nodes`\n\n{explained}"
        assert version["description"] == told
        assert re.fullmatch(r"recycle [\d.]+ · cpu · \d+ \w{3} \d\d:\d\d", version["display_name"])
        assert run_of(kfp)["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]

    def test_the_same_content_is_uploaded_once(self, kfp):
        assert "(uploaded)" in recycle("submit", "recycle", "--no-wait")
        assert "(unchanged)" in recycle("submit", "recycle", "--no-wait", "-p", "scale=0.5")
        assert len(kfp.asked("POST", ".*/upload_version")) == 1
        assert len(kfp.runs) == 2

    def test_other_resources_are_another_version(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        recycle("submit", "recycle", "--no-wait", "--set", "transfer.memory_limit=8Gi")
        ((one,), (two,)) = kfp.versions.values()
        assert one["name"] != two["name"]
        assert "set transfer.memory_limit=8Gi`" in two["description"]
        assert "8Gi" in yaml.safe_dump(two["pipeline_spec"])

    def test_a_run_takes_an_older_version_of_the_same_content(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        recycle("upload", "recycle", "--set", "transfer.memory_limit=8Gi")
        assert "(unchanged)" in recycle("submit", "recycle", "--no-wait")
        ((first, _),) = kfp.versions.values()
        last = list(kfp.runs.values())[-1].document
        assert last["pipeline_version_reference"]["pipeline_version_id"] == first["pipeline_version_id"]

    def test_an_upload_makes_an_older_content_the_newest_again(self, kfp):
        recycle("upload", "recycle")
        recycle("upload", "recycle", "--set", "transfer.memory_limit=8Gi")
        assert "(uploaded)" in recycle("upload", "recycle")
        assert "(unchanged)" in recycle("upload", "recycle")
        ((first, _, third),) = kfp.versions.values()
        assert third["name"] == f"{first['name']}-2"
        assert third["pipeline_spec"] == first["pipeline_spec"]

    def test_schedules_that_a_new_version_changes_are_named(self, kfp):
        recycle("upload", "recycle")
        for name in ("nightly", "weekly", "paused", "fixed"):
            recycle("schedule", "recycle", "--cron", "0 6 * * *", "--name", name)
        recycle("schedule", "pause", "paused")
        (fixed,) = (one for one in kfp.recurring.values() if one["display_name"] == "fixed")
        fixed["pipeline_version_reference"]["pipeline_version_id"] = "1"
        recycle("schedule", "recycle", "--cron", "0 6 * * *", "--name", "another pipeline's")
        list(kfp.recurring.values())[-1]["pipeline_version_reference"] = {"pipeline_id": "another"}
        assert "now run" not in called("submit", "recycle", "--no-wait").stderr
        trial = called("submit", "recycle", "--no-wait", "--json", "--set", "transfer.memory_limit=8Gi")
        assert "now run" not in trial.stderr
        result = called("submit", "recycle", "--no-wait", "--json", "--resources", "gpu", "--no-gpu-check")
        assert "These schedules now run this version: nightly, weekly." in result.stderr
        assert json.loads(result.stdout)["version_is_new"] is True

    @pytest.mark.parametrize("command", [("submit", "recycle", "--no-wait", "--no-gpu-check"), ("upload", "recycle")])
    def test_a_schedule_that_a_new_version_ends_is_named(self, kfp, command):
        recycle("upload", "recycle")
        for name in ("nightly", "weekly"):
            recycle("schedule", "recycle", "--cron", "0 6 * * *", "--name", name)
        made = next(one for one in kfp.recurring.values() if one["display_name"] == "nightly")
        made["runtime_config"]["parameters"]["old_name"] = "1"
        told = called(*command, "--resources", "gpu").stderr
        assert "The schedule nightly sets old_name, which recycle no longer has" in told
        assert "The schedule weekly" not in told
        assert ("now run this version" in told) == (command[0] == "submit")

    def test_an_older_version_is_found_on_a_later_page(self, kfp):
        recycle("upload", "recycle")
        ((first,),) = kfp.versions.values()
        for number in range(25):
            kfp.versions[first["pipeline_id"]].append({**first, "name": f"other-{number}"})
        assert "(unchanged)" in recycle("submit", "recycle", "--no-wait")

    def test_all_pipelines_at_once(self, kfp):
        found = document("upload")
        assert {one["name"] for one in kfp.pipelines.values()} == set(found)
        assert {"recycle", "finetune-and-recycle"} <= set(found)

    def test_somebody_else_is_uploading_the_same(self, kfp):
        recycle("upload", "recycle")
        kfp.faults = [Fault(path="/versions", status=200, body=b"{}")]
        assert "(uploaded)" in recycle("submit", "recycle", "--no-wait")
        ((_,),) = kfp.versions.values()


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "recycle demo"),
        ({"source_base": "org/base-1", "source_tuned": "me/chat-1", "target_base": "s3://b/base-2"}, "chat-1 → base-2"),
        ({"source_base": "org/base-1", "target_base": "/base-2/checkpoint.json"}, "recycle base-1 → base-2"),
        ({"transfer": "llama3:3.0-to-3.1"}, "recycle llama3:3.0-to-3.1"),
        ({"bases": "demo:release-1, demo:release-2"}, "recycle release-1, release-2"),
        ({"releases": "hub:org/base@v*", "source_tuned": "me/chat"}, "recycle hub:org/base@v*"),
    ],
)
def test_a_run_is_called_by_what_it_moves(parameters, name):
    assert run_name("recycle", parameters).endswith(name)


class TestARun:
    def test_it_gets_all_parameters_by_their_types(self, kfp):
        recycle("submit", "recycle", "--no-wait", "-p", "gate_tolerance=0.1", "-p", "scale=0.5")
        parameters = run_of(kfp)["runtime_config"]["parameters"]
        assert parameters["gate_tolerance"] == 0.1
        assert parameters["scale"] == "0.5"
        assert set(parameters) == set(inspect.signature(load_pipeline("recycle").function).parameters)

    def test_it_is_put_in_an_experiment_that_is_made_once(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        recycle("submit", "recycle", "--no-wait")
        recycle("submit", "recycle", "--no-wait", "--experiment", "mine")
        assert [one["display_name"] for one in kfp.experiments.values()] == ["recycle", "mine"]

    def test_the_ui_is_pointed_at_where_it_is_known(self, kfp, monkeypatch):
        assert "/#/runs/" not in recycle("submit", "recycle", "--no-wait")
        kfp.is_ui = True
        assert f"{kfp.url}/#/runs/details/" in recycle("submit", "recycle", "--no-wait")
        monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kfp.example")
        assert "https://kfp.example/#/runs/details/" in recycle("submit", "recycle", "--no-wait")

    def test_a_kfp_of_many_users_is_told_whose_it_is(self, kfp):
        kfp.multi_user = True
        refused("submit", "recycle", told=["multi-user mode", "--namespace"], code=2)
        recycle("submit", "recycle", "--namespace", "ada")
        assert "recycle" in recycle("runs", "--namespace", "ada")

    def test_the_source_is_in_the_environment_of_every_step(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        ((version,),) = kfp.versions.values()
        executors = version["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
        starts = ["".join(executor["container"]["command"]) for executor in executors.values()]
        assert len(starts) > 10
        assert all(f" RECYCLE_SOURCE={source_digest()} exec python3 " in start for start in starts)

    def test_a_note_that_every_step_has_is_said_once(self, kfp):
        kfp.steps = {key: Step(log=events(key, notes=("the image is older",))) for key in ("resolve", "transfer")}
        assert recycle("submit", "recycle").count("the image is older") == 1

    def test_a_token_comes_from_the_environment(self, kfp, monkeypatch):
        kfp.token = "secret"
        refused("submit", "recycle", told=["refuses (status 401)", "KFP_EXISTING_TOKEN"])
        monkeypatch.setenv("KFP_EXISTING_TOKEN", "secret")
        assert "secret" not in recycle("submit", "recycle")


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("nope",), ["no pipeline 'nope'", "recycle"]),
            (("recycle", "-p", "scal=1"), ["'scal=1' sets no parameter", "scale"]),
            (("recycle", "-p", "gate_tolerance=much"), ["gate_tolerance is 'much'", "number"]),
            (("recycle", "-p", "gate_tolerance=2"), ["gate_tolerance is 2"]),
            (("recycle", "-p", "suite=nope"), ["nope"]),
            (("recycle", "-p", "source_base=a/b@1"), ["source_tuned"]),
            (("recycle", "-p", "model_name={{workflow.name}}"), ["{{workflow.name}}", "template"]),
            (("grid", "-p", "bases=demo:release-1,demo:nosuch"), ["the demo has no release 'nosuch'"]),
            (("recycle", "--resources", "tpu"), ["resource profile 'tpu'"]),
            (("recycle", "--set", "judge.gpus=1"), ["judge"]),
        ],
    )
    def test_what_can_be_known_here_is_refused_before_anything_is_asked(self, kfp, arguments, told):
        refused("submit", *arguments, told=told, code=2)
        assert not kfp.seen

    def test_what_the_api_refuses_is_passed_on(self, kfp):
        recycle("upload", "recycle")
        ((version,),) = kfp.versions.values()
        del version["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]["scale"]
        told = ["parameter(s) provided are not required by pipeline: scale"]
        refused("submit", "recycle", told=told, code=2)

    @pytest.mark.parametrize("command", [("submit", "recycle"), ("upload",), ("runs",), ("schedule", "list")])
    def test_an_api_that_is_not_there(self, kfp, command):
        kfp.close()
        refused(*command, told=["does not answer", kfp.url, "onnection refused", "--endpoint"])

    def test_an_address_without_a_kfp(self, kfp):
        kfp.faults = [Fault(path="/", status=200, body=b"<html>Sign in</html>", content_type="text/html", times=9)]
        refused("submit", "recycle", told=["answers with a web page", "KFP_EXISTING_TOKEN"])
        kfp.faults = [Fault(path="/", status=404, body=b"404 page not found", content_type="text/plain", times=9)]
        refused("submit", "recycle", told=["is not Kubeflow Pipelines' address"])

    def test_the_address_of_mlflow(self, kfp):
        kfp.faults = [
            Fault(path="/healthz", status=404, body=b"Not Found", content_type="text/plain", times=9),
            Fault(path="/version", status=200, body=b"3.17.0", content_type="text/plain"),
        ]
        refused("submit", "recycle", told=["is MLflow's address, not Kubeflow Pipelines'", "--endpoint"])
        kfp.faults = [Fault(path="/", status=200, body=b'{"hello": 1}', times=9)]
        refused("submit", "recycle", told=["not as Kubeflow Pipelines does"])

    def test_an_address_that_is_none(self, kfp):
        refused("runs", "--endpoint", "http://no such host", told=["does not answer", "no such host"])

    def test_plain_http_where_no_scheme_was_given(self, kfp):
        refused("runs", "--endpoint", kfp.url.removeprefix("http://"), told=["does not answer at https://", "http://"])

    def test_no_address_and_no_kubeconfig(self, kfp, monkeypatch):
        monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
        refused("runs", told=["no Kubeflow Pipelines was named", "--endpoint", "port-forward"], code=2)

    def test_rights_that_are_missing(self, kfp):
        body = b'{"code": 7, "message": "User ada is not authorized with reason: x", "details": []}'
        kfp.faults = [Fault(path="POST /apis/v2beta1/runs", status=403, body=body)]
        refused("submit", "recycle", told=["User ada is not authorized", "ask for rights"])

    def test_a_server_that_fails(self, kfp):
        body = json.dumps({"code": 13, "message": "Failed to create a new run: no database"}).encode()
        kfp.faults = [Fault(path="POST /apis/v2beta1/runs", status=500, body=body)]
        refused("submit", "recycle", told=["status 500", "no database"])


class TestFollowing:
    def test_an_api_that_is_away_for_a_while(self, kfp):
        fault = Fault(path="/runs/", body=b"no healthy upstream", content_type="text/plain", times=0)
        kfp.faults = [fault]
        kfp.on_tick = lambda run: setattr(fault, "times", 3 if run.ticks == 3 else 0)
        output = recycle("submit", "recycle")
        assert output.count("status 503, Service Unavailable; asking again") == 1
        assert "✓ register" in output

    def test_a_log_that_is_away_for_a_moment_is_read_at_the_end(self, kfp):
        kfp.steps = {"compare": Step(log=events("compare", passed=True, reason="0.5 ≥ 0.4"))}
        kfp.faults = [Fault(path="/log", status=502, times=10)]  # as many as there are steps
        assert "Gate passed: 0.5 ≥ 0.4" in recycle("submit", "recycle")
        assert not kfp.faults[0].times

    @pytest.mark.parametrize(("status", "told"), [(503, "does not answer"), (401, "refuses (status 401)")])
    def test_an_api_that_is_gone(self, kfp, monkeypatch, status, told):
        monkeypatch.setattr("pipelines.backend.following.PATIENCE_S", 0.05)
        fault = Fault(path="/runs/", status=status, times=0)
        kfp.faults = [fault]
        kfp.on_tick = lambda run: setattr(fault, "times", 10**6 if run.ticks == 3 else 0)
        output = refused("submit", "recycle", told=[told, "continues on the cluster"])
        (run,) = kfp.runs
        assert f"recycle runs show {run}" in output

    def test_an_interrupted_command_leaves_the_run_alone(self, kfp, monkeypatch):
        def interrupt(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr("pipelines.backend.following.time.sleep", interrupt)
        output = recycle("submit", "recycle", code=130)
        (run,) = kfp.runs
        assert "The run continues on the cluster" in output
        assert f"recycle runs show {run}" in output
        assert f"recycle runs stop {run}" in output
        assert not kfp.asked("POST", ".*:terminate")
