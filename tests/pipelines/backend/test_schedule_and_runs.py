"""`recycle schedule` and `recycle runs`, against a KFP that answers as a real one did."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from tests.support.fake_kfp import Fault

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def called(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def recycle(*arguments, code=0):
    return called(*arguments, code=code).output


def document(*arguments):
    return json.loads(called(*arguments, "--json").stdout)


def refused(*arguments, told, code=2):
    output = recycle(*arguments, code=code)
    assert "What to do:" in output
    assert "Traceback" not in output
    for text in told:
        assert text in output


def schedule(*arguments, code=0):
    return recycle("schedule", "recycle", "--cron", "0 6 * * *", *arguments, code=code)


@pytest.fixture
def uploaded(kfp):
    recycle("upload", "recycle")
    kfp.seen.clear()
    return kfp


class TestSchedule:
    def test_it_takes_the_newest_version_one_at_a_time_and_none_for_times_that_passed(self, uploaded):
        schedule("-p", "scale=0.5")
        (made,) = uploaded.recurring.values()
        assert made["pipeline_version_reference"] == {"pipeline_id": next(iter(uploaded.pipelines))}
        assert made["trigger"] == {"cron_schedule": {"cron": "0 0 6 * * *"}}
        assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == ("1", True, "ENABLE")
        assert made["runtime_config"]["parameters"]["scale"] == "0.5"
        assert made["runtime_config"]["parameters"]["dtype"] == "auto"
        assert made["experiment_id"] in uploaded.experiments

    def test_it_says_when_it_is_due_next_in_utc(self, uploaded):
        output = schedule()
        assert "Schedule recycle-recycle: recycle, its newest version, at '0 6 * * *' (UTC)" in output
        due = datetime.fromisoformat(document("schedule", "list")["schedules"][0]["next"])
        assert due > datetime.now(UTC)
        assert (due.hour, due.minute, due.utcoffset().seconds) == (6, 0, 0)
        assert f"{due:%Y-%m-%d} 06:00 UTC" in output

    def test_its_life(self, uploaded):
        schedule("--name", "nightly")
        (line,) = [line for line in recycle("schedule", "list").splitlines() if "nightly" in line]
        assert line.split()[:7] == ["nightly", "recycle", "0", "6", "*", "*", "*"]
        assert "on" in line.split()
        recycle("schedule", "pause", "nightly")
        (paused,) = document("schedule", "list")["schedules"]
        assert (paused["enabled"], paused["next"]) == (False, None)
        assert "paused" in recycle("schedule", "list")
        recycle("schedule", "resume", "nightly")
        assert document("schedule", "list")["schedules"][0]["enabled"]
        recycle("schedule", "delete", "nightly")
        assert recycle("schedule", "list") == "No schedules yet.\n"

    def test_a_name_that_is_taken(self, uploaded):
        schedule()
        refused("schedule", "recycle", "--cron", "0 7 * * *", told=["'recycle-recycle' already", "--replace"], code=1)
        (first,) = uploaded.recurring
        recycle("schedule", "recycle", "--cron", "0 7 * * *", "--replace")
        (made,) = uploaded.recurring.values()
        assert made["trigger"]["cron_schedule"]["cron"] == "0 0 7 * * *"
        assert made["recurring_run_id"] != first

    def test_a_refusal_leaves_the_one_that_was_to_be_replaced(self, uploaded):
        schedule()
        before = dict(uploaded.recurring)
        uploaded.faults = [Fault(path="POST /apis/v2beta1/recurringruns", status=500)]
        schedule("--replace", code=1)
        assert uploaded.recurring == before

    def test_schedules_on_later_pages_are_found(self, uploaded):
        schedule("--name", "last")
        (made,) = uploaded.recurring.values()
        others = {
            f"{number}": {**made, "recurring_run_id": f"{number}", "display_name": f"other {number}"}
            for number in range(120)
        }
        uploaded.recurring = {**others, **uploaded.recurring}
        recycle("schedule", "pause", "last")
        assert uploaded.recurring[made["recurring_run_id"]]["status"] == "DISABLED"

    def test_one_of_two_with_the_same_name_by_its_id(self, uploaded):
        schedule()
        (made,) = uploaded.recurring.values()
        uploaded.recurring["other"] = {**made, "recurring_run_id": "other"}
        refused("schedule", "delete", "recycle-recycle", told=["2 schedules", "other"])
        recycle("schedule", "delete", "other")
        assert list(uploaded.recurring) == [made["recurring_run_id"]]

    def test_one_that_was_made_by_other_means(self, uploaded):
        schedule()
        (made,) = uploaded.recurring.values()
        for number, trigger in enumerate(
            ({"periodic_schedule": {"interval_second": "60"}}, {"cron_schedule": {"cron": "*/1 * * * *"}}, {})
        ):
            uploaded.recurring[str(number)] = {**made, "recurring_run_id": str(number), "trigger": trigger}
        shown = [(one["cron"], one["next"]) for one in document("schedule", "list")["schedules"][1:]]
        assert shown == [("every 60 s", None), ("*/1 * * * *", None), ("", None)]
        recycle("schedule", "list")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("recycle", "--cron", "0 6 * *"), ["has 4 fields", "'0 6 * * *'"]),
            (("recycle", "--cron", "0 0 6 * * *"), ["has 6 fields"]),
            (("recycle", "--cron", "every day at six ok"), ["'every' is no minute"]),
            (("nope", "--cron", "0 6 * * *"), ["no pipeline 'nope'"]),
            (("lst", "--cron", "0 6 * * *"), ["no pipeline 'lst'"]),
            (("recycle", "--cron", "0 6 * * *", "-p", "scal=1"), ["sets no parameter"]),
            (("recycle", "--cron", "0 6 * * *", "-p", "gate_tolerance=7"), ["gate_tolerance is 7"]),
        ],
    )
    def test_bad_input_is_refused_before_anything_is_asked(self, kfp, arguments, told):
        refused("schedule", *arguments, told=told)
        assert not kfp.seen

    def test_what_the_api_makes_of_a_bad_cron_is_passed_on(self, uploaded, monkeypatch):
        monkeypatch.setattr("pipelines.backend.cron.Cron.with_seconds", "every day")
        refused("schedule", "recycle", "--cron", "0 6 * * *", told=["Expected 5 to 6 fields, found 2: every day"])

    def test_a_pipeline_that_kfp_does_not_have(self, kfp):
        refused(
            "schedule", "recycle", "--cron", "0 6 * * *", told=["no pipeline 'recycle' yet", "recycle upload recycle"]
        )

    @pytest.mark.parametrize("command", ["pause", "resume", "delete"])
    def test_a_schedule_that_there_is_not(self, uploaded, command):
        schedule()
        refused("schedule", command, "nope", told=["no schedule 'nope'", "recycle-recycle"])

    def test_a_command_without_anything_shows_how_it_is_used(self):
        assert "Missing" in recycle("schedule", code=2)
        assert "Commands:" in recycle("schedule", "--help")
        assert "--replace" in recycle("schedule", "create", "-h")


class TestRuns:
    def test_the_newest_come_first_with_what_they_were(self, kfp):
        recycle("submit", "recycle")
        recycle("submit", "recycle", "--no-wait", "-p", "scale=0.5")
        stopped = kfp.add_recorded_run("stopped")
        recorded, newest, oldest = document("runs")["runs"]
        assert (newest["state"], oldest["state"]) == ("pending", "succeeded")
        assert (newest["pipeline"], newest["parameters"]["scale"], newest["seconds"]) == ("recycle", "0.5", None)
        assert (recorded["run_id"], recorded["state"]) == (stopped, "stopped")

    def test_for_people(self, kfp):
        run = kfp.add_recorded_run("succeeded")
        (header, line) = recycle("runs").splitlines()
        assert header.split("  ")[0] == "run"
        for text in (run, "succeeded", "2026-11-23 20:17", "2 min 01 s"):
            assert text in line

    def test_no_more_than_was_asked_for(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        (run,) = kfp.runs.values()
        for number in range(130):
            copy = {
                **run.document,
                "run_id": f"{number:03}",
                "created_at": f"2026-11-24T10:{number // 60:02}:{number % 60:02}Z",
            }
            kfp.runs[f"{number:03}"] = type(run)(document=copy, spec={})
        assert len(document("runs")["runs"]) == 20
        listed = [one["run_id"] for one in document("runs", "--limit", "125")["runs"]]
        assert listed == [f"{number:03}" for number in range(129, 4, -1)]
        assert len(document("runs", "--limit", "999")["runs"]) == 131

    def test_a_pipeline_that_is_gone(self, kfp):
        run = kfp.add_recorded_run("succeeded")
        kfp.pipelines.clear()
        kfp.versions.clear()
        assert run in recycle("runs")
        assert "Took 121 s." in recycle("runs", "show", run)

    def test_a_run_of_whatever_version_is_the_newest(self, kfp):
        run = kfp.add_recorded_run("succeeded")
        del kfp.runs[run].document["pipeline_version_reference"]["pipeline_version_id"]
        assert "✓ evaluate recycled" in recycle("runs", "show", run)

    def test_none_yet(self, kfp):
        assert recycle("runs") == "No runs yet.\n"

    def test_one_is_stopped(self, kfp):
        recycle("submit", "recycle", "--no-wait")
        (run,) = kfp.runs
        assert "is being stopped" in recycle("runs", "stop", run)
        refused("runs", "show", run, told=["was stopped"], code=1)
        assert "has ended already" in recycle("runs", "stop", run)
        assert len(kfp.asked("POST", ".*:terminate")) == 1

    @pytest.mark.parametrize("command", ["show", "stop"])
    @pytest.mark.parametrize("run", [UNKNOWN, "../experiments", "a b/c?d"])
    def test_a_run_that_there_is_not(self, kfp, command, run):
        refused("runs", command, run, told=[f"no run {run!r}", "`recycle runs`"])

    def test_options_before_a_command_are_not_lost_silently(self, kfp):
        assert "unexpected extra argument" in recycle("runs", "--limit", "3", "stop", UNKNOWN, code=2)


def test_help_is_fast_for_it_loads_no_client():
    slow = "('kfp', 'kubernetes', 'yaml')"
    code = f"import sys; from pipelines.cli.main import main; sys.exit(any(name in sys.modules for name in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
