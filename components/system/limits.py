"""The cores and the memory that this process may use, which in a container are less than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that the scheduler gives this process, cut to its control group's CPU quota, at least 1.

    A quota of 1.5 cores counts as 2: threads of which one waits for half of its time are the better use of it.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas())]))


def limit_libraries() -> None:
    """Tell OpenMP, and so PyTorch, where it would count more cores than may be used; child processes get it too."""
    if usable_cores() < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


def _quotas() -> Iterator[float]:
    """Cores by each quota that holds for this process: its own group's and those of the groups around it."""
    for folder in _groups():
        quota = _words(folder / "cpu.max")  # cgroup v2: the microseconds of CPU time in a period, and the period
        quota = quota or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        if len(quota) == 2 and all(word.isdecimal() and int(word) for word in quota):  # neither `max` nor -1
            yield int(quota[0]) / int(quota[1])


def _groups() -> Iterator[Path]:
    """Folders of the control groups, as far as they are seen from here."""
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers
        own = root / group.strip("/")
        # From inside a container, a group's path may be the host's, and its folder the root.
        yield from (folder for folder in {own, *own.parents, root} if folder.is_relative_to(root))


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files that hold a container's own limit, by the kernel's control groups v2 and v1: a number of bytes, or `max`."""


def usable_memory() -> int:
    """Bytes of the machine's memory, or of what this container may have of it."""
    limits = (path.read_text().strip() for path in MEMORY_LIMITS if path.is_file())
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])
