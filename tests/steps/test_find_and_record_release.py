"""The steps find-release and record-release with a real MLflow in a file and a real webhook."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from components import settings
from components.checkpoints.manifest import Checkpoint
from components.errors import BadParameter
from components.references.save import save_checkpoint
from components.store.store import open_store
from components.tracking.step_context import step
from components.watch import attempts, find
from components.watch.attempts import RETRYING_S
from components.watch.find import WatchRequest, find_new_release
from components.watch.ledger import read_ledger
from components.watch.record import Recycled, record_recycled
from tests.support.releases_world import make_world, near
from tests.support.tinymodels import make_checkpoint
from tests.support.webhook_server import SECRET, webhook_server  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures are imported, and asked for by name


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """MLflow's file with its tables and nothing in them, which take seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def world(tmp_path, database):
    settings.home().mkdir()
    shutil.copy(database, settings.home() / "mlflow.db")
    return make_world(tmp_path / "world")


@pytest.fixture
def watch(world, tmp_path, monkeypatch):
    """Does a tick as a pipeline run, and gives back its outputs and what it says of itself."""

    def once(run, **changes):
        monkeypatch.setenv("RECYCLE_RUN_ID", run)
        given = {
            "releases": str(world / "releases"),
            "source_base": str(world / "base"),
            "source_tuned": str(world / "tuned"),
            "scale": "1",
            "dtype": "auto",
            "suite": "demo",
            "model_name": "recycled",
            "retry_after": "12h",
        }
        with step("watch") as running:
            outputs = find_new_release(WatchRequest(**given | changes), running, str(tmp_path / "seen.md"))
        return SimpleNamespace(outputs=outputs, outcome=running.outcome, tracker=running.tracker)

    return once


@pytest.fixture
def record():
    def once(watched, *, target=None):
        found, _, _, reference, ledger, release, _, _ = watched.outputs
        assert found
        saved = save_checkpoint(target or reference, open_store())
        with step("record release") as running:
            recycled = Recycled(
                target_base=saved,
                passed=True,
                reason="Better by 3 points.",
                model_name="recycled",
                version="7",
                aliases="candidate, champion",
            )
            record_recycled(running, recycled, releases="here", ledger=ledger, release=release)
        return running.outcome

    return once


@pytest.fixture
def pass_time(monkeypatch):
    """Lets seconds pass for the ticks that follow."""

    def once(seconds):
        for module in (find, attempts):
            monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + seconds))

    return once


def run_of(watched):
    return watched.tracker.client.get_run(watched.tracker.root_id)


def test_from_nothing_to_a_release_that_is_done(world, watch, record, webhook_server, tmp_path):
    empty = watch("run 1")
    assert empty.outputs[0] is False
    assert (empty.outputs[3], empty.outputs[5]) == ("", "")
    assert run_of(empty).info.status == "FINISHED"
    assert run_of(empty).data.tags["release"] == "nothing new"
    near(world / "base", world / "releases/r1", seed=10)
    found = watch("run 2")
    assert found.outputs[:4] == (True, str(world / "base"), str(world / "tuned"), str(world / "releases/r1"))
    assert run_of(found).info.status == "RUNNING"
    assert record(found)["recorded"] == str(world / "releases/r1")
    assert run_of(found).data.tags["recycled release"] == str(world / "releases/r1")
    ((_, _, body),) = webhook_server.bodies
    assert body["run"] == "run 2"
    assert body["events"][0]["version"] == "7"
    done = watch("run 3")
    assert done.outputs[0] is False
    assert done.outcome["watch"]["counts"] == {"done": 1}
    assert "| done |" in (tmp_path / "seen.md").read_text()
    assert "version 7, gate passed" in (tmp_path / "seen.md").read_text()


def test_a_backlogs_older_release_is_taken_as_one_that_a_newer_one_outranks(world, watch, record):
    for number in (1, 2):
        near(world / "base", world / f"releases/r{number}", seed=10 + number)
    newest = watch("run 1")
    record(newest)
    older = watch("run 2")
    assert [Path(found.outputs[3]).name for found in (newest, older)] == ["r2", "r1"]
    assert [found.outputs[6] for found in (newest, older)] == [False, True]


def test_saving_completes_a_tokenizer_and_the_release_is_still_the_one_that_was_taken(world, watch, record):
    near(world / "base", world / "releases/r1", seed=10)
    config = world / "releases/r1/tokenizer_config.json"
    config.write_text(
        json.dumps({key: value for key, value in json.loads(config.read_text()).items() if key != "pad_token"})
    )
    found = watch("run 1")
    record(found)
    assert watch("run 2").outcome["watch"]["counts"] == {"done": 1}
    assert set(read_ledger(open_store(), found.outputs[4]).releases) == {found.outputs[5]}


def test_files_that_were_replaced_meanwhile_are_not_taken_for_those_that_were_taken(world, watch, record):
    near(world / "base", world / "releases/r1", seed=10)
    near(world / "base", world / "other", seed=11)
    found = watch("run 1")
    record(found, target=str(world / "other"))
    again = watch("run 2")
    assert again.outputs[5] == found.outputs[5]


def test_what_is_refused_is_told_to_the_webhook_once(world, watch, webhook_server):
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    make_checkpoint(world / "releases/stranger", seed=4, layers=1)
    watch("run 1")
    watch("run 2")
    ((_, _, body),) = webhook_server.bodies
    assert {event["happened"] for event in body["events"]} == {"incompatible", "unlikely"}


def test_a_webhook_that_fails_is_told_and_undoes_nothing(world, watch, record, webhook_server):
    webhook_server.answers = [403, 403]
    near(world / "base", world / "releases/r1", seed=10)
    outcome = record(watch("run 1"))
    assert outcome["notes"] == ["the webhook at 127.0.0.1 was not told: HTTP 403"]
    assert watch("run 2").outcome["watch"]["counts"] == {"done": 1}


def test_nothing_that_is_written_shows_the_webhooks_address(world, watch, record, webhook_server, tmp_path, capfd):
    webhook_server.answers = [503] * 9
    near(world / "base", world / "releases/r1", seed=10)
    record(watch("run 1"))
    written = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert written == []
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize(("status", "is_told"), [("FAILED", True), ("KILLED", True), ("RUNNING", False), ("", False)])
def test_an_attempt_whose_run_in_mlflow_is_over_is_told_with_its_reason(world, watch, pass_time, status, is_told):
    near(world / "base", world / "releases/r1", seed=10)
    first = watch("run 1")
    if status:
        first.tracker.client.set_terminated(first.tracker.root_id, status)
        first.tracker.client.set_tag(first.tracker.root_id, "failure", "evaluate: no memory left")
    else:
        first.tracker.client.delete_run(first.tracker.root_id)
    pass_time(RETRYING_S + 5)
    second = watch("run 2")
    events = second.outcome["watch"]["events"]
    assert [event["reason"] for event in events] == (["evaluate: no memory left"] if is_told else [])
    assert second.outputs[0] is False


def test_one_that_was_killed_is_told_without_a_reason_of_its_own(world, watch, pass_time):
    near(world / "base", world / "releases/r1", seed=10)
    first = watch("run 1")
    first.tracker.client.set_terminated(first.tracker.root_id, "KILLED")
    pass_time(RETRYING_S + 5)
    assert "KILLED" in watch("run 2").outcome["watch"]["events"][0]["reason"]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_one_that_broke_off_just_after_it_began_may_be_tried_again_by_the_cluster(
    world, watch, pass_time, webhook_server, status
):
    near(world / "base", world / "releases/r1", seed=10)
    first = watch("run 1")
    first.tracker.client.set_terminated(first.tracker.root_id, status)
    pass_time(RETRYING_S - 60)
    found = watch("run 2").outcome["watch"]
    assert (found["events"], found["counts"], webhook_server.bodies) == ([], {"running": 1}, [])


def test_one_that_was_killed_a_moment_ago_may_be_tried_again_by_the_cluster(world, watch, pass_time):
    near(world / "base", world / "releases/r1", seed=10)
    first = watch("run 1")
    killed = (time.time() + 3 * 3_600) * 1000
    first.tracker.client.set_terminated(first.tracker.root_id, "KILLED", end_time=int(killed))
    pass_time(3 * 3_600 + RETRYING_S - 60)
    assert watch("run 2").outcome["watch"]["counts"] == {"running": 1}
    pass_time(3 * 3_600 + RETRYING_S + 5)
    assert watch("run 3").outcome["watch"]["counts"] == {"failed": 1}


def test_work_is_not_done_twice_beside_a_run_that_mlflow_knows_to_go_on(world, watch, pass_time):
    near(world / "base", world / "releases/r1", seed=10)
    watch("run 1")
    pass_time(13 * 3_600)
    found = watch("run 2")
    assert (found.outputs[0], found.outcome["watch"]["events"]) == (False, [])


def test_one_that_was_registered_may_still_be_on_its_way_to_be_recorded(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    watch("run 1").tracker.end_pipeline()
    assert watch("run 2").outcome["watch"]["events"] == []


def test_a_step_that_is_tried_again_takes_the_same(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    near(world / "base", world / "releases/r2", seed=11)
    assert watch("run 1").outputs == watch("run 1").outputs


def test_another_fine_tune_begins_anew(world, watch, record):
    near(world / "base", world / "releases/r1", seed=10)
    record(watch("run 1"))
    near(world / "base", world / "other-tuned", seed=12)
    assert watch("run 2", source_tuned=str(world / "other-tuned")).outputs[0] is True


def test_a_demo_that_is_mixed_with_other_models_is_refused(watch):
    with pytest.raises(BadParameter, match="releases name the demo's models"):
        watch("run 1", releases="demo:release-*")


def test_a_checkpoint_with_a_manifest_is_not_read_again(world, watch, record, monkeypatch):
    near(world / "base", world / "r1", seed=10)
    saved = save_checkpoint(str(world / "r1"), open_store())
    shutil.copytree(Path(saved.uri.removeprefix("file://")), world / "releases/r1")
    assert Checkpoint.read(world / "releases/r1/checkpoint.json").digest == saved.digest
    found = watch("run 1")
    record(found)
    assert watch("run 2").outcome["watch"]["counts"] == {"done": 1}
