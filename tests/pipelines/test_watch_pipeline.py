"""The pipeline `watch` through `kfp.local`, as `recycle run` runs it: a release, then nothing new."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.releases_world import make_world, near
from tests.support.tinymodels import make_checkpoint
from tests.support.tinysuites import write_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()", "run", "watch"]


@pytest.fixture(scope="module")
def ticks(tmp_path_factory):
    """Two ticks over one release that fits and one that does not."""
    world = make_world(tmp_path_factory.mktemp("watched") / "world")
    near(world / "base", world / "releases/r1", seed=10)
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    suite = write_suite(
        world / "suite",
        name="places",
        description="Six questions.",
        task={"description": "Where words live"},
        questions=6,
        tokens=4,
        batch_size=8,
    )
    given = {
        "releases": world / "releases",
        "source_base": world / "base",
        "source_tuned": world / "tuned",
        "suite": suite,
        "model_name": "watched",
    }
    arguments = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RECYCLE_"))}
    environment |= {"RECYCLE_HOME": str(world / "home")}

    def tick(*more):
        ran = subprocess.run(
            [*COMMAND, *arguments, *more], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return {"world": world, "first": json.loads(tick("--json")), "second": tick()}


def test_the_first_tick_recycles_registers_and_records(ticks):
    first = ticks["first"]
    assert [step["step"] for step in first["steps"]][:2] == ["watch", "resolve"]
    assert first["steps"][-1]["step"] == "record release"
    assert {step["state"] for step in first["steps"]} == {"ended"}
    outcome, releases = first["outcome"], ticks["world"] / "releases"
    assert outcome["recorded"] == str(releases / "r1")
    assert outcome["watch"]["events"][0]["happened"] == "incompatible"
    assert (outcome["model"], outcome["version"]) == ("watched", "1")


def test_the_second_says_in_one_line_that_there_is_nothing_new(ticks):
    (line,) = [line for line in ticks["second"].splitlines() if line.startswith("Watch:")]
    assert line == f"Watch:      nothing new at {ticks['world']}/releases (1 done, 1 incompatible)"
    assert "→ resolve" not in ticks["second"]
