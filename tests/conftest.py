import os

import pytest

from tests.support.evaluations import build_evaluation
from tests.support.minio_server import bucket_store, minio, minio_program  # noqa: F401 - fixtures of every folder


@pytest.fixture
def make_evaluation():
    return build_evaluation


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Each test has its own home, and no service of the person who runs it."""
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith(("AWS_", "MLFLOW_", "RECYCLE_")) and name not in ("RECYCLE_HOME", "RECYCLE_TEST_MINIO"):
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items):
    """The files that take minutes first, so that two workers end together."""
    items.sort(key=lambda item: item.path.name not in ("test_end_to_end.py", "test_failed_training.py"))
