"""Runs that a real KFP ran, followed word for word: too large for KFP's API, failed in a loop, ended from outside."""

import json

import pytest
from click.testing import CliRunner

from pipelines.backend import following
from pipelines.cli.main import main
from tests.support.fake_kfp import events, failure
from tests.support.kfp_recordings import Recording

PICK = "pick-pair(0).executor(0)"


def show(recording, *more, code=0):
    result = CliRunner().invoke(main, ["runs", "show", recording.run_id, *more], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def live(kfp, kubernetes, recording, *times, **workflow):
    """Let the Workflow be as it was at these times, one after the other, and the run end after the last one."""
    run, moments = kfp.runs[recording.run_id], iter((times[0], *times))

    def on_tick(_):
        moment = next(moments, None)
        run.document = recording.run(state="RUNNING" if moment else "")
        kubernetes.workflows = [recording.workflow(moment or "23:59:59", **workflow)]

    kfp.on_tick = on_tick


LOOP = "transfer-each(0).for-loop-1(0).iteration-iterations"
KEY_ERROR = {f"{LOOP}({n}:{n})(0).iteration-item(0).{PICK}": "KeyError: 'release-1'\n" for n in range(3)}
WATCH_LOGS = {
    "compare(0).executor(0)": events("compare", table="the table", passed=True, reason="Better.", metrics={}),
    "register(0).executor(0)": events("register", model="watched", version="1", aliases=["candidate"], uri="s3://b/x"),
}
STANDS_STILL = (
    "      KFP's API tells nothing new of this run, as of runs with many steps. With a kubeconfig for the cluster the "
    "steps are read there; without one, "
)


class TestWithAKubeconfig:
    def test_a_run_whose_nodes_argo_compressed_is_followed_to_its_result(self, kfp, kubernetes):
        recording = Recording("watch")
        recording.add_to(kfp, **WATCH_LOGS)
        live(kfp, kubernetes, recording, "15:42:25", "15:43:05", "15:43:30", "15:43:50", "15:44:10")
        assert (
            show(recording)
            == """\
watch · running
  → watch
  ✓ watch  11 s
  ✓ resolve  9 s
  → save source base
  → save source fine-tuned
  → save target base
  ✓ save source base  15 s
  ✓ save source fine-tuned  13 s
  ✓ save target base  13 s
  → evaluate source fine-tuned
  → transfer
  → evaluate target base
  ✓ evaluate source fine-tuned  18 s
  ✓ transfer  14 s
  ✓ evaluate target base  16 s
  → will it transfer
  → evaluate recycled
  ✓ will it transfer  13 s
  ✓ evaluate recycled  16 s
  → compare
  ✓ compare  13 s
  ✓ register  11 s
  ✓ settle  10 s

the table

Gate passed: Better.
Registered: watched version 1 as candidate
Weights:    s3://b/x
Took 164 s.
"""
        )

    def test_each_failed_iteration_is_told_once_its_pod_has_failed(self, kfp, kubernetes):
        recording = Recording("grid")
        recording.add_to(kfp, **KEY_ERROR)
        live(kfp, kubernetes, recording, "15:45:38", "15:47:00", "15:48:22")
        lines = show(recording, code=1).splitlines()
        assert (
            "\n".join(lines[lines.index("  ✓ evaluate release-3 fine-tuned  19 s") + 1 :])
            == """\
  ✗ pick the pair, iteration 1  6 s
      its log ends with:
      KeyError: 'release-1'
      the loop's other iterations continue, if any are left
  → pick the pair, iteration 2
  ✗ pick the pair, iteration 2  6 s
      its log ends with:
      KeyError: 'release-1'
      the loop's other iterations continue, if any are left
  → pick the pair, iteration 3
  ✗ pick the pair, iteration 3  6 s
      its log ends with:
      KeyError: 'release-1'
Error: step 'pick the pair, iteration 1' failed: its log ends with:
      KeyError: 'release-1'
  Also failed: pick the pair, iteration 2, pick the pair, iteration 3
  What to do: correct what it names; then submit it again: finished work is reused"""
        )

    def test_the_end_is_asked_for_until_no_step_is_running(self, kfp, kubernetes, monkeypatch):
        monkeypatch.setattr(following, "LATE_S", 30.0)
        recording = Recording("watch")
        run = recording.add_to(kfp, **WATCH_LOGS)
        moments = iter(["15:44:10", "15:44:10", "15:44:30", "15:44:50", "23:59:59"])

        def on_tick(_):
            moment = next(moments)
            run.document = recording.run(state="RUNNING" if moment == "15:44:10" else "SUCCEEDED")
            kubernetes.workflows = [recording.workflow(moment)]

        kfp.on_tick = on_tick
        output = show(recording)
        assert "✓ settle  10 s" in output
        assert "Registered: watched version 1" in output
        assert "Not complete" not in output

    def test_a_workflow_whose_nodes_are_in_a_database_is_said_to_be_so(self, kfp, kubernetes):
        recording = Recording("watch")
        recording.add_to(kfp)
        kubernetes.workflows = [recording.workflow(offloaded=True)]
        output = show(recording)
        assert output.count("Argo keeps this run's steps in its database") == 1
        assert "Not complete: " in output

    def test_a_workflow_that_may_not_be_read_leaves_the_api(self, kfp, kubernetes):
        kubernetes.forbidden = ("workflows",)
        recording = Recording("watch")
        recording.add_to(kfp)
        assert "✓ compare  13 s" in show(recording)


class TestWithoutAKubeconfig:
    def test_a_partial_result_is_not_printed_as_whole(self, kfp):
        recording = Recording("watch")
        recording.add_to(kfp, **WATCH_LOGS)
        output = show(recording)
        assert output.endswith(
            "  ✓ compare  13 s\n  → register\n"
            f"{STANDS_STILL}see KFP's UI, or set MLFLOW_TRACKING_URI\n"
            "\nthe table\n\nGate passed: Better.\n"
            "Not complete: the run succeeded, but KFP's API did not tell the end of register; see KFP's UI.\n"
            "Took 164 s.\n"
        )
        assert json.loads(show(recording, "--json"))["incomplete"]

    def test_a_failed_run_whose_steps_stood_still(self, kfp):
        recording = Recording("grid")
        recording.add_to(kfp)
        output = show(recording, code=1)
        assert f"{STANDS_STILL}see KFP's UI" in output
        assert "ended as FAILED, and no step of it says why" in output

    def test_mlflow_tells_what_the_api_does_not(self, kfp, monkeypatch, tmp_path):
        from mlflow import MlflowClient

        address = f"sqlite:///{tmp_path}/mlflow.db"
        client = MlflowClient(address)
        root = client.create_run("0", run_name="grid").info.run_id
        loop = client.create_run("0", run_name="for-loop-1", tags={"mlflow.parentRunId": root}).info.run_id
        client.set_terminated(loop, "FAILED")
        tags = {"mlflow.parentRunId": loop}
        client.set_terminated(client.create_run("0", run_name="fine-tune", tags=tags).info.run_id, "FINISHED")
        tags |= {"failure": "step 'pick' failed: no model"}
        client.set_terminated(client.create_run("0", run_name="pick-pair", tags=tags).info.run_id, "FAILED")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        recording = Recording("grid")
        run = recording.add_to(kfp)
        run.document["plugins_output"]["mlflow"]["entries"]["root_run_id"]["value"] = root
        output = show(recording, code=1)
        assert f"{STANDS_STILL}the rest is MLflow's\n" in output
        assert "  ✗ pick-pair  0 s (as MLflow has it)\n      step 'pick' failed: no model\n" in output
        assert "Error: step 'pick' failed: no model\n  What to do: correct what it names" in output

    def test_a_failed_pod_is_told_by_its_own_log_before_the_steps_end(self, kfp):
        recording = Recording("watch")
        for row in recording.facts["tasks"]:
            if (row[0], row[1]) == ("executor(0)", "RUNNING"):
                row[1:4] = ["FAILED", row[2], "15:44:34"]
        run = recording.add_to(kfp, **{"register(0).executor(0)": failure("register", "no such name", "give one")})
        ticks = iter(["RUNNING", "RUNNING", "FAILED"])
        kfp.on_tick = lambda _: setattr(run, "document", recording.run(state=next(ticks, "FAILED")))
        output = show(recording, code=1)
        assert "  ✗ register  8 s\n      no such name\n" in output


class TestWhyAPodEnded:
    STEP = "condition-1(0).transfer(0).executor(0)"

    @pytest.mark.parametrize(
        ("message", "problem", "hint"),
        [
            ("OOMKilled (exit code 137)", "it ran out of memory", "--set transfer.memory_limit=…"),
            ("OOMKilled (exit code 1)", "it ran out of memory", "--set transfer.memory_limit=…"),
            ("main: Error (exit code 143)", "ended from outside: its node was drained", "--set transfer.retries=…"),
            ("pod deleted", "ended from outside: its node was drained", "--set transfer.retries=…"),
            (
                "Pod was active on the node longer than the specified deadline",
                "it ran into its timeout",
                "--set transfer.timeout=…",
            ),
            (
                "The node was low on resource: ephemeral-storage.",
                "evicted it: The node was low on resource: ephemeral-storage.",
                "--set transfer.scratch=…",
            ),
        ],
    )
    def test_it_is_told_for_what_it_is(self, kfp, kubernetes, message, problem, hint):
        changes = {"phase": "Failed", "message": message}
        ending = "condition-1(0).transfer"
        recording = Recording("watch", {self.STEP: changes, ending: changes, f"{ending}(0)": changes})
        recording.facts["state"] = "FAILED"
        started = '\nrecycle-event {"step": "transfer", "event": "started"}\n'
        recording.add_to(kfp, **{self.STEP: started})
        kubernetes.workflows = [recording.workflow()]
        output = show(recording, code=1)
        assert "✗ transfer" in output
        assert problem in output
        assert hint in output

    def test_a_retry_is_told_with_its_cause(self, kfp, kubernetes):
        recording = Recording("watch", {self.STEP: {"phase": "Failed", "message": "main: Error (exit code 143)"}})
        recording.facts["nodes"] += [
            ["(0).root(0).condition-1(0).transfer(0).executor(1)", "Pod", "Succeeded", "15:43:33", "15:43:35", "", ""]
        ]
        recording.add_to(kfp, **WATCH_LOGS)
        live(kfp, kubernetes, recording, "15:43:25", "15:43:34")
        output = show(recording)
        why = "its pod was ended from outside: its node was drained, or the pod was evicted or deleted"
        assert f"  → transfer\n  → evaluate target base\n  ↻ transfer, try 2: {why}\n" in output
        assert "✓ transfer  14 s" in output


def test_an_answer_with_an_error_is_not_a_log(kfp):
    recording = Recording("watch")
    message = json.dumps({"error_message": "Failed to read logs", "error_details": "forbidden"})
    recording.add_to(kfp, **{"compare(0).executor(0)": message})
    assert "error_message" not in show(recording)
