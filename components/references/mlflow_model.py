"""`models:/NAME/VERSION` and `models:/NAME@ALIAS`: a model of MLflow's registry as a checkpoint reference."""

import re

from components.errors import BadReference
from components.system import without_passwords
from components.tracking import mlflow_errors

_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[\w-]+))", re.ASCII)


def registered_uri(reference: str) -> str:
    """Where the weights of a registered model lie.

    Raises:
        BadReference: it is not the URI of a version, or MLflow has none of it, or its weights are elsewhere.
        ServiceUnavailable: MLflow does not answer.
    """
    match = _MODEL.fullmatch(reference)
    if match is None:
        raise BadReference(
            f"{reference!r} names no version of a registered model",
            hint="write models:/name/version or models:/name@alias",
        )
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from components.tracking import tracking_uri

    client = MlflowClient(tracking_uri=tracking_uri())
    with mlflow_errors():
        try:
            if match["alias"]:
                version = client.get_model_version_by_alias(match["name"], match["alias"])
            else:
                version = client.get_model_version(match["name"], match["version"])
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise BadReference(
                f"MLflow at {without_passwords(tracking_uri())} has no {reference}",
                hint="choose a version or an alias that its registry shows, or another server with MLFLOW_TRACKING_URI",
            ) from None
    uri = version.tags.get("recycle.uri") or str(version.source)
    if not uri.startswith(("s3://", "file://")):
        raise BadReference(
            f"{reference} has its weights at {uri[:200]!r}, which is no place a checkpoint is read from",
            hint="give the folder, or the s3://bucket/prefix, that holds the weights",
        )
    return uri
