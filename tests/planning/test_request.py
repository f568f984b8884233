"""What a run is about, from its parameters and the name of a published transfer."""

import pytest

from components.errors import BadParameter
from components.planning.request import TransferRequest
from components.transfer import parse_scale

COMMIT = "0123456789" * 4


def request(transfer="", **values):
    return TransferRequest(transfer=transfer, scale=parse_scale("1"), **values)


def completed(transfer="", **values):
    return request(transfer, **values).complete()


def refused(transfer="", **values):
    with pytest.raises(BadParameter) as caught:
        completed(transfer, **values)
    return str(caught.value)


def chosen(found):
    """What was to be filled in."""
    return (found.source_base, found.source_tuned, found.target_base, found.suite, found.recipe)


def test_with_nothing_given_the_demo_runs():
    assert chosen(completed()) == (
        "demo:release-1",
        "demo:release-1-instruct",
        "demo:release-2",
        "demo",
        "",
    )
    assert chosen(completed(finetunes=True)) == ("demo:release-1", "", "demo:release-2", "demo", "demo")


def test_what_is_given_stands():
    whole = request(source_base="a", source_tuned="b", target_base="c", suite="s", model_name="m")
    assert whole.complete() == whole
    assert completed(suite="s").suite == "s"


OWN = {"source_base": "org/base@v1", "source_tuned": "ada/chat@v2", "target_base": "org/base@v3"}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "recycle-demo"),
        ({"continues": True, "lengths": "0.5"}, "recycle-demo-then-finetuned"),
        (OWN, "ada-chat-recycled"),
        (OWN | {"finetunes": True}, "org-base-recycled"),
        (OWN | {"source_tuned": "s3://bucket/models/chat 1/checkpoint.json"}, "models-chat-1-recycled"),
        (OWN | {"source_tuned": "models:/support@champion"}, "models-support-recycled"),
        (OWN | {"model_name": "mine"}, "mine"),
    ],
)
def test_only_the_demo_registers_as_the_demo_and_no_two_fine_tunes_under_one_name_by_default(values, name):
    found = completed(**values)
    found.check()
    assert found.model_name == name


@pytest.mark.parametrize(
    ("values", "finetunes", "told"),
    [
        ({"source_base": "a", "target_base": "c"}, False, "source_tuned is not given"),
        ({"target_base": "c"}, False, "source_base and source_tuned are not given"),
        ({"target_base": "c"}, True, "source_base is not given"),
    ],
)
def test_a_part_of_the_demo_is_never_mixed_with_other_models(values, finetunes, told):
    assert told in refused(finetunes=finetunes, **values)


def test_a_transfer_fills_in_everything():
    assert chosen(completed("llama3:3.0-to-3.1")) == (
        "llama3:3.0",
        "llama3:3.0-instruct",
        "llama3:3.1",
        "llama-instruct",
        "",
    )
    assert chosen(completed("olmo2-7b:M4-to-M5", finetunes=True)) == (
        "olmo2-7b:M4",
        "",
        "olmo2-7b:M5",
        "olmes-instruct",
        "paper-math",
    )


def test_suite_and_recipe_can_be_others():
    assert completed("llama3:3.0-to-3.1", suite="demo").suite == "demo"
    assert completed("olmo2-7b:M4-to-M5", recipe="demo", finetunes=True).recipe == "demo"


@pytest.mark.parametrize(
    "same", ["llama3:3.1", f"llama3:3.1@{COMMIT}", "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B@main"]
)
def test_a_checkpoint_that_agrees_is_taken_as_it_was_given(same):
    assert completed("llama3:3.0-to-3.1", target_base=same).target_base == same


@pytest.mark.parametrize(
    "other",
    ["llama3:3.0", "olmo2-7b:M1", "meta-llama/Llama-3.1-8B@dev", "./folder", "demo:release-1", f"llama3:3.0@{COMMIT}"],
)
def test_a_checkpoint_that_contradicts_is_refused(other):
    told = refused("llama3:3.0-to-3.1", target_base=other)
    for text in ("target_base", repr(other), "llama3:3.0-to-3.1", "it is llama3:3.1"):
        assert text in told


def test_a_transfer_without_a_published_fine_tune_needs_one():
    told = refused("olmo2-7b:M1-to-M3")
    assert "was not published" in told
    assert "source_tuned" in told
    assert "finetune-and-recycle" in told
    filled = completed("olmo2-7b:M1-to-M3", source_tuned="./mine")
    assert (filled.source_base, filled.source_tuned, filled.target_base) == ("olmo2-7b:M1", "./mine", "olmo2-7b:M3")


def test_a_published_fine_tune_is_not_made_again():
    assert "recycle" in refused("llama3:3.0-to-3.1", finetunes=True)


def test_an_unknown_transfer_is_refused():
    assert "there is no transfer 'llama3.0-to-3.1'" in refused("llama3.0-to-3.1")


def test_a_pipeline_that_continues_takes_a_fine_tuned_model_and_a_recipe():
    demo = completed(continues=True)
    assert (demo.source_tuned, demo.recipe) == ("demo:release-1-instruct", "demo")
    named = completed("llama3:3.0-to-3.1", recipe="tulu3-sft", continues=True)
    assert (named.source_tuned, named.recipe) == ("llama3:3.0-instruct", "tulu3-sft")


def test_a_transfer_without_a_recipe_needs_one_to_be_continued():
    with pytest.raises(BadParameter, match="no fine-tuning recipe of its own"):
        completed("llama3:3.0-to-3.1", continues=True)
