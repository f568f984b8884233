"""How much memory there is."""

import os
from pathlib import Path

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container finds its own limit, by the kernel's control groups v2 and v1: a number of bytes, or `max`."""


def host_bytes() -> int:
    """The machine's memory, or what this container may have of it."""
    limits = (path.read_text().strip() for path in MEMORY_LIMITS if path.is_file())
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])
