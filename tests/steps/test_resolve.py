"""The resolve step, from the name of a published transfer to references pinned to commits."""

from types import SimpleNamespace

import pytest

from components.errors import BadParameter
from components.planning import ResolvedTransfer, TransferRequest, resolve_transfer
from components.steps.resolve import resolve
from components.transfer import parse_scale
from tests.support.fakehub import FakeHub
from tests.support.tinymodels import make_checkpoint

REPOS = {
    "llama3:3.0": "meta-llama/Meta-Llama-3-8B",
    "llama3:3.0-instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
    "llama3:3.1": "meta-llama/Llama-3.1-8B",
}


class Told:
    """Takes the place of MLflow."""

    def __init__(self):
        self.told = {}

    def params(self, values):
        self.told |= values

    def text(self, text, name): ...

    def pipeline_metrics(self, values): ...

    def describe_pipeline(self, text, values): ...

    def tags(self, values):
        self.told |= values


@pytest.fixture
def commits(tmp_path, monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield {
            name: hub.add(repo, make_checkpoint(tmp_path / repo, seed=seed))
            for seed, (name, repo) in enumerate(REPOS.items())
        }


def resolved(tmp_path, **changes):
    request = TransferRequest(**({"scale": parse_scale("1"), "suite": "demo", "gate_tolerance": 0.02} | changes))
    run = SimpleNamespace(tracker=Told(), outcome={})
    return resolve_transfer(request, run, tmp_path / "plan.md"), run


def test_the_step_has_the_outputs_that_planning_gives():
    outputs = resolve.component_spec.outputs
    assert {name for name, output in outputs.items() if output.type != "system.Markdown@0.0.1"} == set(
        ResolvedTransfer._fields
    )


def test_a_transfer_is_pinned_to_the_commits_of_its_checkpoints(commits, tmp_path):
    found, run = resolved(tmp_path, transfer="llama3:3.0-to-3.1")
    assert found[:3] == tuple(f"{name}@{commit}" for name, commit in commits.items())
    assert (found.suite, found.recipe, found.notes, found.points, found.quick_suite) == ("demo", "", [], [], "demo")
    assert run.tracker.told["forecast"] == run.tracker.told["will it transfer"]
    assert run.tracker.told["transfer"] == "llama3:3.0-to-3.1"
    assert f"llama3:3.1@{commits['llama3:3.1']}" in (tmp_path / "plan.md").read_text()


def test_a_search_has_its_points_and_a_quick_suite(commits, tmp_path):
    found, _ = resolved(tmp_path, transfer="llama3:3.0-to-3.1", suite="olmes-instruct", scale_search="0.5,1.5")
    assert [point["scale"] for point in found.points] == ["0.5", "1.5"]
    assert found.quick_suite == "olmes-instruct-quick"


def test_the_hubs_own_names_come_to_the_same(commits, tmp_path):
    base, tuned, target = REPOS.values()
    named, _ = resolved(tmp_path, transfer="llama3:3.0-to-3.1")
    assert resolved(tmp_path, source_base=base, source_tuned=tuned, target_base=target)[0] == named


def test_a_pin_beside_the_transfer_is_kept(commits, tmp_path):
    pinned = f"{REPOS['llama3:3.1']}@{commits['llama3:3.1']}"
    with pytest.raises(BadParameter, match=r"it is llama3:3\.1"):
        resolved(tmp_path, transfer="llama3:3.0-to-3.1", target_base=pinned)
    pinned = f"llama3:3.1@{commits['llama3:3.1']}"
    assert resolved(tmp_path, transfer="llama3:3.0-to-3.1", target_base=pinned)[0][2] == pinned


def test_trainings_that_are_shorter_are_named_for_both_starts(tmp_path):
    given = {role: str(make_checkpoint(tmp_path / role, seed=1)) for role in ("source_base", "target_base")}
    given |= {"source_tuned": given["source_base"], "recipe": "demo", "continues": True, "lengths": "0.5"}
    found, _ = resolved(tmp_path, **given)
    assert found.recycled_trainings == [{"label": "recycled at 50 percent", "share": 0.5}]
    assert found.target_trainings == [{"label": "target base at 50 percent", "share": 0.5}]


def test_a_recipe_without_steps_of_its_own_cannot_be_continued_in_shares(tmp_path):
    given = {role: str(make_checkpoint(tmp_path / role, seed=1)) for role in ("source_base", "source_tuned")}
    given |= {"target_base": str(tmp_path / "not there"), "recipe": "tulu3-sft", "continues": True, "lengths": "0.5"}
    with pytest.raises(BadParameter, match="tulu3-sft counts passes over its data"):
        resolved(tmp_path, **given)
