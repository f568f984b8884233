"""Which version the aliases lead to, in a real MLflow in a file."""

import pytest

from components.tracking.registry import register
from components.tracking.step_context import step
from tests.support.evaluations import build_evaluation
from tests.tracking.test_model_card import PARENTS, checkpoint


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
            done = register(
                tracker=running.tracker,
                model_name=model_name,
                model=checkpoint(name, "fine-tuning transfer", scale="1", dtype="bfloat16"),
                parents=PARENTS,
                evaluation=build_evaluation({"facts": [1.0, 0.0]}),
                passed=passed,
                reason="It is better.",
                keeps_aliases=keeps_aliases,
            )
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
    again, aliases = registered("a", "kept", keeps_aliases=True)
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
