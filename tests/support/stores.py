"""An empty store of each kind, and what tests want to know of one."""

import pytest

from components.store.store import open_store


def checkpoints_in(store):
    """Every checkpoint of a store but those whose manifest is damaged."""
    return [found for digest in store.digests() if (found := store.find(digest))]


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, monkeypatch):
    """An empty store, of each kind."""
    if request.param == "bucket":
        request.getfixturevalue("bucket_store")
    else:
        monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    return open_store()
