"""Names that MLflow would refuse only at the end of a long run."""

import pytest
from mlflow.utils.validation import _validate_logged_model_name

from components.tracking.registry import logged_model_name


@pytest.mark.parametrize("name", ["Llama-3.1-8B-recycled", "OLMo-2-1124-7B@stage1-step1-tokens2B", "a/b:c%d\"e'f"])
def test_mlflow_takes_the_name_of_every_checkpoint(name):
    _validate_logged_model_name(logged_model_name(name))


def test_a_name_that_it_takes_is_kept():
    assert logged_model_name("OLMo-2-1124-7B-recycled") == "OLMo-2-1124-7B-recycled"
