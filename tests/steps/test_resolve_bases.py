"""Which bases a run goes over, what they are called, and whether they fit."""

import re

import pytest

from components.errors import BadParameter, Incompatible
from components.planning import BasesRequest, ResolvedBases, parse_bases, preview_bases
from components.planning.request import DEMO_BASES
from components.references.family import families, find_grid
from components.steps.resolve_bases import resolve_bases
from components.transfer import parse_scale
from tests.support.tinymodels import make_checkpoint


def request(*bases, chain=False, **values):
    return BasesRequest(bases=bases, chain=chain, scale=parse_scale("1"), **values)


def chosen(bases="", **values):
    return request(*parse_bases(bases), **values).complete()


def labels(references):
    return request(*references).labels


def test_the_step_has_the_outputs_that_planning_gives():
    outputs = resolve_bases.component_spec.outputs
    assert {name for name, output in outputs.items() if output.type != "system.Markdown@0.0.1"} == set(
        ResolvedBases._fields
    )


def test_with_nothing_given_the_demo_runs():
    found = chosen()
    assert (found.bases, found.suite, found.recipe) == (DEMO_BASES, "demo", "demo")


def test_a_published_grid_is_one_short_name():
    found = chosen("olmo2-7b:grid", chain=True)
    assert found.bases == tuple(f"olmo2-7b:M{number}" for number in range(1, 6))
    assert (found.suite, found.recipe) == ("olmes-instruct", "paper-math")
    assert chosen("olmo2-7b:grid", suite="demo", recipe="tulu3-sft").recipe == "tulu3-sft"


def test_every_family_with_a_grid_has_its_name():
    assert [name for name, family in families().items() if family.grids] == ["olmo2-7b"]
    assert find_grid("olmo2-7b:M1") is None
    with pytest.raises(BadParameter, match="olmo2-7b:grid"):
        find_grid("llama3:grid")


def test_bases_are_named_with_commas():
    assert chosen(" a , b/c@d,").bases == ("a", "b/c@d")


@pytest.mark.parametrize(
    ("bases", "said"),
    [("a", "only a"), ("a,b,a", "a twice"), ("a,b,c,d,e,f", "6 releases")],
)
def test_too_few_too_many_or_twice(bases, said):
    with pytest.raises(BadParameter, match=said):
        chosen(bases, chain=True)


def test_a_grid_may_be_larger_than_a_chain():
    assert len(chosen("a,b,c,d,e,f").bases) == 6


def test_labels_are_short_different_and_of_plain_characters():
    assert labels(["demo:release-1", "olmo2-7b:M3", "org/Model-7B@stage1-step3", "/data/ft/checkpoint.json"]) == (
        "release-1",
        "M3",
        "stage1-step3",
        "ft",
    )
    assert labels(["/one/base", "/two/base", "/three/other"]) == ("base-1", "base-2", "other")
    assert labels(["/a/step", "/b/step", "/c/step-2"]) == ("step-1", "step-3", "step-2")
    strange = labels(["/x/Ünïcode's | base", "/y/…"])
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", label) for label in strange)
    assert len(set(strange)) == 2


@pytest.fixture
def releases(tmp_path):
    return [str(make_checkpoint(tmp_path / f"release-{seed}", seed=seed)) for seed in range(3)]


def test_a_grid_has_every_pair_and_a_chain_the_neighbours(releases):
    grid = preview_bases(request(*releases))
    assert len(grid.pairs) == 6
    assert grid.pairs[0] == {"source": "release-0", "target": "release-1", "label": "release-0 onto release-1"}
    chain = preview_bases(request(*releases, chain=True))
    assert [pair["label"] for pair in chain.pairs] == ["release-0 onto release-1", "release-1 onto release-2"]
    assert [item["label"] for item in chain.items] == ["release-0", "release-1", "release-2"]
    assert len({item["reference"] for item in chain.items}) == 3


def test_the_plan_tells_distances_and_warns_of_far_ones(releases):
    found = preview_bases(request(*releases, chain=True))
    assert all("look unrelated" in warning for warning in found.warnings)
    assert "WARNING 1" in found.markdown()
    assert set(found.scratch_needed) == {"evaluate", "finetune"}


def test_a_base_of_another_shape_is_refused_before_anything_moves(releases, tmp_path):
    other = str(make_checkpoint(tmp_path / "other", layers=3))
    with pytest.raises(Incompatible):
        preview_bases(request(*releases, other))
