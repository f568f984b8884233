"""One line from a published transfer's name to the report, on tiny models that stand in for the hub's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.references.family import releases, transfers
from pipelines.cli.main import main
from tests.support.fakehub import FakeHub
from tests.support.tinymodels import make_checkpoint
from tests.support.tinysuites import write_suite

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
REPOS = ("meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Llama-3.1-8B")


def recycle(*arguments):
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-name")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RECYCLE_"))}
    with FakeHub() as hub:
        commits = [
            hub.add(repo, make_checkpoint(folder / repo, seed=seed), license="llama3")
            for seed, repo in enumerate(REPOS)
        ]
        suite = write_suite(
            folder / "suite",
            name="sums",
            description="Four questions that stand in for GSM8K.",
            task={"description": "Sums", "benchmark": "GSM8K"},
            questions=4,
            tokens=4,
            batch_size=4,
        )
        given = ["-p", "transfer=llama3:3.0-to-3.1", "-p", f"suite={suite}"]
        done = subprocess.run(
            [*COMMAND, "run", "recycle", *given, "--json"],
            env=environment | {"RECYCLE_HOME": str(folder / "home"), "HF_ENDPOINT": hub.url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return {"result": json.loads(done.stdout), "commits": commits, "home": folder / "home"}


@pytest.mark.slow
def test_the_published_checkpoints_were_used_at_their_commits(ran):
    plan = next((ran["home"] / "runs").glob("*/artifacts/**/plan")).read_text()
    names = ("llama3:3.0", "llama3:3.0-instruct", "llama3:3.1")
    for role, name, commit in zip(("base", "fine-tuned", "base"), names, ran["commits"], strict=True):
        assert f"{role} | {name}@{commit} |" in plan


@pytest.mark.slow
def test_the_report_shows_the_published_scores(ran):
    report = Path(ran["result"]["outcome"]["report"]).read_text()
    assert "Published in arXiv 2503.20110, %" in report
    for name, score in (("llama3:3.1", "56.6"), ("llama3:3.0-to-3.1", "79.8"), ("llama3:3.0-instruct", "81.1")):
        assert name in report
        assert f"<td>{score}</td>" in report


@pytest.mark.parametrize(
    ("pipeline", "given", "told"),
    [
        ("recycle", ("transfer=llama3.0-to-3.1",), ("'llama3.0-to-3.1'", "use one of llama3:3.0-to-3.1,")),
        ("recycle", ("transfer=llama3:3.0-to-3.1", "target_base=llama3:3.0"), ("target_base", "it is llama3:3.1")),
        ("recycle", ("transfer=olmo2-7b:M1-to-M3",), ("not published", "source_tuned")),
        ("recycle", ("source_base=a", "target_base=b"), ("source_tuned is not given",)),
        ("finetune-and-recycle", ("transfer=llama3:3.0-to-3.1",), ("llama3:3.0-instruct", "recycle")),
    ],
)
def test_a_choice_that_cannot_be_is_refused_before_anything_starts(pipeline, given, told, tmp_path):
    result = recycle("run", pipeline, *(f"-p{assignment}" for assignment in given))
    assert result.exit_code == 2, result.output
    assert all(text in result.output for text in told)
    assert not (tmp_path / "home").exists()


def test_plan_takes_releases(tmp_path, monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for seed, repo in enumerate(REPOS):
            hub.add(repo, make_checkpoint(tmp_path / repo, seed=seed))
        planned = recycle("plan", "llama3:3.0", "llama3:3.0-instruct", "llama3:3.1", "--json")
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.output)["target base"].startswith("llama3:3.1@")


def test_families_lists_every_release_and_transfer():
    listed = recycle("families").output
    assert all(name in listed for name in (*releases(), *transfers()))
    document = json.loads(recycle("families", "--json").output)
    assert [name for family in document.values() for name in family["releases"]] == list(releases())
    assert [name for family in document.values() for name in family["transfers"]] == list(transfers())
    assert document["tulu3"]["releases"]["tulu3:sft"] == {
        "repo": "allenai/Llama-3.1-Tulu-3-8B-SFT",
        "revision": "main",
        "base": "llama3:3.1",
    }
