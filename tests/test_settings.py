import re
from pathlib import Path

import pytest

from components import settings
from components.errors import BadParameter

ROOT = Path(__file__).parent.parent
READS = re.compile(r"(?:environ|environment)(?:\.get\(|\.setdefault\(|\[)\s*\"([A-Z][A-Z0-9_]*)\"|envvar=.*")
NOT_OURS = {"PATH", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS"}
"""Variables of the system, and of processes that a program of ours starts."""


def test_the_table_has_every_variable_that_is_read():
    read = set()
    for folder in ("components", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            for found in READS.finditer(path.read_text(encoding="utf-8")):
                read |= {found[1]} if found[1] else set(re.findall(r"\"([A-Z_]+)\"", found[0]))
    assert read - NOT_OURS <= {variable.name for variable in settings.VARIABLES}
    assert len(read) > 20


def test_a_variable_is_in_the_table_once():
    names = [variable.name for variable in settings.VARIABLES]
    assert len(set(names)) == len(names)


def test_what_is_secret():
    secret = {variable.name for variable in settings.VARIABLES if variable.secret}
    assert {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "RECYCLE_WEBHOOK", "KFP_EXISTING_TOKEN"} <= secret


def test_a_folder_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(BadParameter, match=r"RECYCLE_LLAMA_TASKS is not set[\s\S]*get it there"):
        settings.folder("RECYCLE_LLAMA_TASKS", "get it there")
    monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(tmp_path / "absent"))
    with pytest.raises(BadParameter, match="is not a folder"):
        settings.folder("RECYCLE_LLAMA_TASKS", "get it there")


def test_a_bad_size_names_its_variable(monkeypatch):
    monkeypatch.setenv("RECYCLE_SCRATCH_EVALUATE", "much")
    with pytest.raises(BadParameter, match="RECYCLE_SCRATCH_EVALUATE is 'much'"):
        settings.scratch("evaluate")


def test_a_pods_settings_are_read_from_where_they_are_mounted(tmp_path, monkeypatch):
    """As the kubelet lays them out: a folder for each object, in which names are links to the files of one version."""
    for name, values in (
        ("recycle", {"RECYCLE_STORE": "s3://bucket/store", "MLFLOW_TRACKING_URI": "http://mlflow", "OTHER": "1"}),
        ("recycle-store", {"AWS_ACCESS_KEY_ID": "steps\n"}),
        ("recycle-hub", {}),  # is missing, or has no key
    ):
        version = tmp_path / name / "..2026"
        version.mkdir(parents=True)
        (tmp_path / name / "..data").symlink_to(version.name)
        for key, value in values.items():
            (version / key).write_text(value)
            (tmp_path / name / key).symlink_to(f"..data/{key}")
    monkeypatch.setattr(settings.os, "environ", {"MLFLOW_TRACKING_URI": "http://of-the-plugin"})
    settings.read_mounts(tmp_path)
    assert settings.os.environ == {
        "RECYCLE_STORE": "s3://bucket/store",
        "MLFLOW_TRACKING_URI": "http://of-the-plugin",
        "AWS_ACCESS_KEY_ID": "steps",
    }


def test_without_mounts_nothing_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(settings.os, "environ", {})
    settings.read_mounts(tmp_path / "absent")
    assert not settings.os.environ
