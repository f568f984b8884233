import json
import os
import subprocess
import sys

import pytest

from components.errors import BadParameter, ProgramFailed
from components.finetune.open_instruct.checkout import PACKAGES, digest_of_sources, find_checkout, hardware_of
from components.system import limits as memory
from components.system.checkout import PROBE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PYTHON = """#!/bin/sh
echo a warning
echo '{"versions": {"torch": "2.8", "transformers": "5.4", "accelerate": "1", "deepspeed": "0.1"%s},' \\
    '"gpus": %s, "packages": ""}' > "$3"
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    folder = tmp_path / "open-instruct"
    (folder / "open_instruct").mkdir(parents=True)
    (folder / "open_instruct" / "finetune.py").write_text("pass\n")
    (folder / "COMMIT").write_text(COMMIT + "\n")
    write_python(folder)
    monkeypatch.setenv("RECYCLE_OPEN_INSTRUCT", str(folder))
    return folder


def write_python(folder, wandb=', "wandb": "0.2"', gpus="[]", text=None):
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(text or PYTHON % (wandb, gpus))
    python.chmod(0o755)
    return python


def test_what_trains_is_named_with_everything_that_decides(checkout):
    found = find_checkout()
    assert found.commit == COMMIT
    assert found.hardware.device == "cpu"
    assert found.trainer == (
        f"open-instruct {COMMIT}, sources {digest_of_sources(checkout)[:16]}, "
        "torch 2.8, transformers 5.4, accelerate 1, deepspeed 0.1, wandb 0.2"
    )


def test_a_changed_source_is_another_trainer(checkout):
    before = find_checkout().trainer
    (checkout / "open_instruct" / "finetune.py").write_text("pass  # changed\n")
    assert find_checkout().trainer != before


def test_the_commit_of_a_clone(checkout):
    (checkout / "COMMIT").unlink()
    with pytest.raises(BadParameter, match="does not tell which commit"):
        find_checkout()
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    told = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert find_checkout().commit == told


def test_another_python(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_OPEN_INSTRUCT_PYTHON", sys.executable)
    write_python(checkout, text="no program")
    with pytest.raises(BadParameter, match=f"the environment of {sys.executable} lacks .*deepspeed"):
        find_checkout()


def test_what_can_be_missing(checkout, tmp_path, monkeypatch):
    write_python(checkout, wandb="")
    with pytest.raises(BadParameter, match="lacks wandb"):
        find_checkout()
    write_python(checkout, text="#!/bin/sh\nexit 3\n")
    with pytest.raises(ProgramFailed, match="exit code 3"):
        find_checkout()
    write_python(checkout, text="#!/bin/sh\necho hello\n")
    with pytest.raises(ProgramFailed, match="does not tell what"):
        find_checkout()
    write_python(checkout).unlink()
    with pytest.raises(BadParameter, match="which is no program"):
        find_checkout()
    monkeypatch.setenv("RECYCLE_OPEN_INSTRUCT", str(tmp_path))
    with pytest.raises(BadParameter, match=r"has no open_instruct/finetune\.py"):
        find_checkout()
    monkeypatch.delenv("RECYCLE_OPEN_INSTRUCT")
    with pytest.raises(BadParameter, match=r"RECYCLE_OPEN_INSTRUCT is not set"):
        find_checkout()


def test_the_gpus_that_there_are():
    gpus = [{"name": "H100", "bytes": 85, "capability": 9}, {"name": "V100", "bytes": 32, "capability": 7}]
    both, first = hardware_of(gpus), hardware_of(gpus[:1])
    assert (both.device, both.devices, both.device_bytes, both.bfloat16) == ("cuda", 2, 32, False)
    assert first.bfloat16


@pytest.mark.parametrize(
    ("limit", "expected"), [("64000000", 64_000_000), ("max", None), ("9223372036854771712", None), (None, None)]
)
def test_memory_is_what_the_container_may_use(tmp_path, monkeypatch, limit, expected):
    file = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "MEMORY_LIMITS", (tmp_path / "absent", file))
    if limit is not None:
        file.write_text(f"{limit}\n")
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpu, gpu = hardware_of([]), hardware_of([{"name": "H100", "bytes": 85, "capability": 9}])
    assert (cpu.host_bytes, cpu.device_bytes, gpu.host_bytes) == (expected or physical,) * 3


@pytest.mark.parametrize("package", ["flash-attn", "flash-attn-3", "flash-attn-4"])
def test_the_attention_that_would_be_taken_is_named(tmp_path, package):
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    metadata = tmp_path / f"{package.replace('-', '_')}-2.8.3.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.8.3\n")
    answer = tmp_path / "answer.json"
    subprocess.run([sys.executable, PROBE, answer, *PACKAGES], env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert json.loads(answer.read_text())["versions"][package] == "2.8.3"
