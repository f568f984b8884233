"""Counting cores in control groups as containers show them."""

import os
import subprocess
import sys

import pytest

from components.system import limits as cores
from components.system.limits import limit_libraries, usable_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of eight cores with these files under /sys/fs/cgroup, and this /proc/self/cgroup."""

    def make(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    return make


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "3200000 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/kubepods/pod1\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "5:memory:/x\n4:cpu,cpuacct:/x\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "4:cpu,cpuacct:/of/the/host\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            8,
        ),
        ("0::/../..\n", {"cpu.max": "200000 0\n"}, 8),
        ("nonsense\n\n::\n", {"cpu.max": "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")}, 8),
        ("", {}, 8),
    ],
)
def test_a_quota_cuts_the_cores(machine, membership, files, expected):
    machine(membership, **files)
    assert usable_cores() == expected


def test_libraries_are_told_of_a_quota_and_of_nothing_else(machine, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine("0::/\n", **{"cpu.max": "max 100000\n"})
    limit_libraries()
    assert "OMP_NUM_THREADS" not in os.environ
    machine("0::/\n", **{"cpu.max": "300000 100000\n"})
    limit_libraries()
    assert os.environ.pop("OMP_NUM_THREADS") == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    limit_libraries()
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_torch_takes_what_a_step_was_told(tmp_path):
    program = (
        "from components.tracking import step_context as steps\n"
        "import components.system.limits as cores\n"
        "cores._quotas = lambda: [1.0]\n"
        "with steps.step('s'):\n"
        "    import torch\n"
        "    print('threads', torch.get_num_threads())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "threads 1" in done.stdout
