"""What a registered model is called where nobody says."""

import pytest

from components.planning.request import MODEL_NAME
from components.references.model_name import default_model_name


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("owner/name@main", "owner-name-recycled"),
        ("llama3:3.0-instruct", "llama3-3.0-instruct-recycled"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3-3.0-instruct-recycled"),
        ("../tuned/", "tuned-recycled"),
        (".", "model-recycled"),
        ("..", "model-recycled"),
        ("/", "model-recycled"),
    ],
)
def test_it_is_one_that_the_registry_takes(reference, name):
    assert default_model_name(reference) == name
    assert MODEL_NAME.fullmatch(name)
