"""What stands between OLMES and code that data brings; for scripts, test_olmes_really.py shows it in OLMES itself."""

import shlex
import sys
from types import SimpleNamespace

import pytest

from components.evaluate.olmes.command import PROGRAM
from components.evaluate.olmes.program import distrust, fetch_nothing, through_here


def test_the_program_that_asks_the_questions_is_started_through_ours():
    assert shlex.split(through_here("python -m oe_eval.run_eval")) == [
        sys.executable,
        "-P",
        str(PROGRAM),
        "oe_eval.run_eval",
    ]


def test_an_olmes_that_starts_something_else_is_refused():
    with pytest.raises(SystemExit, match="data sets could bring scripts"):
        through_here("python -m oe_eval.run_other")


@pytest.mark.parametrize("said", [True, None, False])
def test_no_data_set_is_trusted_whatever_is_said(said):
    load = SimpleNamespace(dataset_module_factory=lambda path, **named: (path, named))
    distrust(load)
    found = load.dataset_module_factory("x", revision="r", trust_remote_code=said)
    assert found == ("x", {"revision": "r", "trust_remote_code": False})


def test_a_version_of_datasets_that_knows_no_scripts_is_told_nothing():
    load = SimpleNamespace(dataset_module_factory=lambda path, **named: (path, named))
    distrust(load)
    assert load.dataset_module_factory("x", revision="r") == ("x", {"revision": "r"})


def test_nltk_fetches_nothing():
    nltk = SimpleNamespace(download=lambda name, **how: True)
    fetch_nothing(nltk)
    assert nltk.download("punkt", quiet=True) is False
