"""A release that one machine made is there for the others, where they share a store."""

import pytest

import components.demo as demo
from components.checkpoints.description import verify
from components.references.open import open_source
from tests.support.tinymodels import make_checkpoint


@pytest.fixture
def made(monkeypatch):
    """Releases that are made at once; the list of their names grows."""
    names = []

    def build(name, folder, **_):
        names.append(name)
        make_checkpoint(folder / name, seed=len(names))

    monkeypatch.setattr(demo, "build", build)
    return names


def test_a_second_machine_finds_it_in_the_bucket(bucket_store, made, tmp_path, monkeypatch):
    first = verify(open_source("demo:release-1"))
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "another"))
    second = open_source("demo:release-1")
    assert made == ["release-1"]
    assert verify(second).digest == first.digest
    assert (second.reference, second.origin) == ("demo:release-1", {"kind": "demo", "release": "release-1"})
    assert second.manifest is None
    assert open_source("demo:release-2").path.is_dir()
    assert made == ["release-1", "release-2"]
    assert not [path.name for path in (tmp_path / "another" / "demo").iterdir() if path.name.startswith(".release")]


def test_on_one_machine_no_store_is_asked(made, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "home"))
    open_source("demo:release-1")
    assert open_source("demo:release-1").path == tmp_path / "home" / "demo" / "release-1"
    assert made == ["release-1"]
    assert not (tmp_path / "home" / "store").exists()
