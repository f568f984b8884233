"""What a user reads when MLflow refuses."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST

from components.errors import ServiceUnavailable
from components.tracking.errors import exists_already, mlflow_errors


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (MlflowException("no such model\ntraceback", RESOURCE_DOES_NOT_EXIST), "check the name"),
        (MlflowException("boom", INTERNAL_ERROR), "check MLFLOW_TRACKING_URI and that the server runs"),
        (ConnectionError("refused"), "check MLFLOW_TRACKING_URI and that the server runs"),
    ],
)
def test_an_error_has_the_hint_that_fits_it(error, hint):
    with pytest.raises(ServiceUnavailable, match="could not be used") as caught, mlflow_errors():
        raise error
    assert caught.value.hint.startswith(hint)
    assert "traceback" not in caught.value.problem


def test_what_is_there_already_is_no_error_and_anything_else_is():
    with exists_already():
        raise MlflowException("there", RESOURCE_ALREADY_EXISTS)
    with pytest.raises(MlflowException), exists_already():
        raise MlflowException("boom", INTERNAL_ERROR)
