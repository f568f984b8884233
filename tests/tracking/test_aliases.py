"""Which version the aliases lead to, in a real MLflow in a file."""

import pytest

from components.judging.roles import Role
from components.tracking.registry import aliases_to_move, register_model, version_tags
from components.tracking.step_context import step
from tests.tracking.test_model_card import PARENTS, RECYCLED, checkpoint, version


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """Registers a model by name; MLflow's file, which takes seconds to make, is this module's."""
    home = tmp_path_factory.mktemp("home")

    def once(name, model_name, *, passed=True, run="", keeps_aliases=False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECYCLE_HOME", str(home))
            patch.setenv("RECYCLE_RUN_ID", run)
            return register_in(model_name, name, passed=passed, keeps_aliases=keeps_aliases)

    def register_in(model_name, name, *, passed, keeps_aliases):
        with step("register") as running:
            model = checkpoint(name, "fine-tuning transfer", scale="1", dtype="bfloat16")
            new = version(model, PARENTS, passed=passed, keeps_aliases=keeps_aliases)
            done = register_model(new, model_name, running.tracker)
            held = running.tracker.client.get_registered_model(model_name).aliases
            return done, {alias: str(version) for alias, version in held.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECYCLE_HOME", str(home))
        yield once


def test_a_newer_version_gets_them(registered):
    registered("a", "moved")
    done, aliases = registered("b", "moved")
    assert done.aliases == ("candidate", "champion")
    assert aliases == {"candidate": "2", "champion": "2"}


def test_one_that_comes_late_gets_none_that_another_has(registered):
    registered("a", "kept")
    done, aliases = registered("b", "kept", keeps_aliases=True)
    assert (done.version, done.aliases) == ("2", ())
    assert aliases == {"candidate": "1", "champion": "1"}
    assert (done.is_new, done.aliases_text) == (True, "candidate stays with version 1; champion stays with version 1")
    again, aliases = registered("a", "kept", keeps_aliases=True)
    assert (again.is_new, again.aliases_text) == (False, "candidate, champion")
    assert (again.version, again.aliases) == ("1", ("candidate", "champion"))


def test_one_that_comes_late_gets_those_that_no_version_has(registered):
    done, aliases = registered("a", "alone", keeps_aliases=True)
    assert done.aliases == ("candidate", "champion")
    assert aliases == {"candidate": "1", "champion": "1"}


def test_of_one_run_a_version_that_failed_takes_nothing_from_one_that_passed(registered):
    registered("a", "searched", run="one")
    done, aliases = registered("b", "searched", run="one", passed=False)
    assert (done.version, done.aliases) == ("2", ())
    assert aliases == {"candidate": "1", "champion": "1"}
    done, aliases = registered("c", "searched", run="another", passed=False)
    assert done.aliases == ("candidate",)
    assert aliases == {"candidate": "3", "champion": "1"}


def test_of_one_run_that_failed_twice_the_later_version_is_the_candidate(registered):
    registered("a", "failed", run="one", passed=False)
    done, aliases = registered("b", "failed", run="one", passed=False)
    assert done.aliases == ("candidate",)
    assert aliases == {"candidate": "2"}


def test_an_older_version_that_is_registered_again_has_the_aliases_that_the_registry_holds(registered):
    registered("a", "again")
    registered("b", "again", passed=False)
    done, aliases = registered("a", "again")
    assert (done.version, done.aliases) == ("1", ("champion",))
    assert aliases == {"candidate": "2", "champion": "1"}


@pytest.mark.parametrize(
    ("version", "holders", "given", "moved"),
    [
        (1, {}, {"passed": True}, ("candidate", "champion")),
        (1, {}, {"passed": False}, ("candidate",)),
        (2, {"candidate": 1, "champion": 1}, {"passed": True}, ("candidate", "champion")),
        (1, {"candidate": 2, "champion": 1}, {"passed": True}, ()),
        (2, {"candidate": 1}, {"passed": True, "keeps_aliases": True}, ("champion",)),
        (2, {"candidate": 1, "champion": 1}, {"passed": False, "candidate_passed": True}, ()),
        (2, {"candidate": 1, "champion": 1}, {"passed": True, "candidate_passed": True}, ("candidate", "champion")),
    ],
)
def test_which_aliases_move(version, holders, given, moved):
    rest = {"keeps_aliases": False, "candidate_passed": False}
    assert aliases_to_move(version, holders, **(rest | given)) == moved


def test_the_tags_say_how_both_models_were_made():
    further = checkpoint("further", "fine-tuning", recipe="demo", dataset="demo", dtype="float32")
    tags = version_tags(version(further, PARENTS | {Role.RECYCLED: RECYCLED}, passed=False))
    assert tags["recycle.gate"] == "failed"
    assert tags["recycle.digest_of_source_fine_tuned"] == "s" * 64
    assert tags["recycle.digest_of_recycled"] == "r" * 64
    assert (tags["recycle.scale"], tags["recycle.recipe"], tags["recycle.dtype"]) == ("0.8", "demo", "float32")
