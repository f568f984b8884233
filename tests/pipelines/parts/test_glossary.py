"""Every pipeline's parameters are explained, from its own docstring or from the glossary."""

import pytest

from pipelines.parts import PIPELINES, explained_parameters, load_pipeline
from pipelines.parts.glossary import EXPLANATIONS, split_docstring


@pytest.mark.parametrize("name", PIPELINES)
def test_the_docstring_explains_every_parameter_as_the_glossary_does(name):
    function = load_pipeline(name).function
    text, explained = split_docstring(function)
    assert [each.name for each in explained_parameters(function)] == list(explained)
    assert explained["scale"] == EXPLANATIONS["scale"]
    assert text.count("A checkpoint is named as owner/name@revision") == 1


def test_a_pipeline_that_means_something_else_says_so():
    explained = {each.name: each for each in explained_parameters(load_pipeline("finetune-and-recycle").function)}
    assert explained["source_base"].explanation == "The base to fine-tune (M_s)."
    assert (explained["finetune_target"].kind, explained["finetune_target"].default) == ("bool", False)
