import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tinymodels and fakehub are shared by tests in every folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Each test has its own home, and no service of the person who runs it."""
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "home"))
    for name in ("RECYCLE_STORE", "RECYCLE_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
