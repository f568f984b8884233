"""What a model's card says of how it was made."""

import re

import pytest

from components.checkpoints.manifest import Checkpoint, Derivation
from components.judging.roles import Role
from components.tracking.card import render_front_matter, render_model_card
from components.tracking.registry import NewVersion
from tests.support.evaluations import build_evaluation


def checkpoint(name, method="", **settings):
    made = Derivation(method=method, parents={}, settings=settings, software="recycle 0.1.0") if method else None
    return Checkpoint(
        name=name,
        uri="file:///store/x",
        digest=name[0] * 64,
        files=(),
        architecture="LlamaForCausalLM",
        parameters=1,
        dtypes={"BF16": 1},
        tensors_fingerprint="",
        tokenizer_fingerprint="",
        origin={},
        derivation=made,
    )


RECYCLED = checkpoint("recycled", "fine-tuning transfer", scale="0.8", dtype="bfloat16")
PARENTS = {role: checkpoint(role.value) for role in (Role.SOURCE_BASE, Role.SOURCE_TUNED, Role.TARGET_BASE)}


def version(model, parents, **changes):
    fields = {"evaluation": build_evaluation({"facts": [1.0, 0.0]}), "passed": True, "reason": "It is better."}
    return NewVersion(model=model, parents=parents, **(fields | changes))


def card(model, parents, **changes):
    new = version(model, parents, **changes)
    return render_front_matter(new) + render_model_card(new)


def test_one_that_a_newer_release_outranks_says_so():
    assert "newer release" in card(RECYCLED, PARENTS, keeps_aliases=True)
    assert "newer release" not in card(RECYCLED, PARENTS)


def test_a_recycled_model_was_not_trained():
    text = card(RECYCLED, PARENTS)
    assert "base_model_relation: merge" in text
    assert "Made without training by *fine-tuning transfer*" in text
    assert "λ = 0.8" in text


@pytest.fixture
def further():
    return card(
        checkpoint("further", "fine-tuning", recipe="demo", dataset="demo"), PARENTS | {Role.RECYCLED: RECYCLED}
    )


def test_a_model_that_was_fine_tuned_from_it_says_both(further):
    assert "base_model_relation: finetune" in further
    assert "without training" not in further
    assert "λ = 0.8" in further
    assert "then fine-tuned by the recipe `demo` on demo" in further
    assert f"| recycled | recycled | `{'r' * 12}` |" in further


def test_every_sign_of_a_name_is_shown():
    text = render_model_card(version(checkpoint("my_own", "fine-tuning transfer", scale="1", dtype="auto"), PARENTS))
    assert text.startswith("\n# my\\_own\n")
    assert not re.search(r"(?<!\\)_", re.sub(r"`[^`]*`|\(http\S*\)", "", text))


def test_its_bases_are_those_of_the_transfer(further):
    front = further.split("---")[1]
    assert "- recycled\n" not in front
    assert "- target base\n" in front
