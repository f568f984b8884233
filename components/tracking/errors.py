"""What goes wrong between a step and MLflow, as errors that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import ServiceUnavailable
from components.system import without_passwords
from components.tracking.address import tracking_uri

HINTS = {
    "RESOURCE_DOES_NOT_EXIST": "check the name, and that MLFLOW_TRACKING_URI is the server that has it",
    "UNAUTHENTICATED": "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED": "ask for the right to write to this experiment and to the model registry",
}
"""What to do about an error, by MLflow's code for it."""
OTHERWISE = "check MLFLOW_TRACKING_URI and that the server runs, or unset it to keep runs in a local file"


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow's client raises into an error a user can act on.

    Raises:
        ServiceUnavailable: MLflow does not answer, or refuses.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ServiceUnavailable(
            without_passwords(f"MLflow at {tracking_uri()} could not be used: {first_line}"),
            hint=HINTS.get(getattr(error, "error_code", ""), OTHERWISE),
        ) from None


@contextmanager
def exists_already() -> Iterator[None]:
    """Let it pass that another run has made meanwhile what was to be made."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
