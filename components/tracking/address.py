"""Where MLflow is."""

import os

from components import settings

DATABASE_FILE = "sqlite:///"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or a sqlite file under RECYCLE_HOME."""
    return server_address() or f"{DATABASE_FILE}{settings.home() / 'mlflow.db'}"


def server_address() -> str:
    """The address that the environment names; empty for none."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")
