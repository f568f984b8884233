"""What the benchmark runs on, and whether its inputs are in the page cache."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

DROP = Path("/proc/sys/vm/drop_caches")
PACKAGES = ("numpy", "numba", "safetensors", "torch")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def memory(field: str) -> int:
    """A line of /proc/meminfo, in bytes."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def describe(folder: Path) -> str:
    """The lines above every table."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {cores()} cores ({_cpu()}) · "
        f"{memory('MemTotal') / 1e9:.1f} GB memory, {memory('MemAvailable') / 1e9:.1f} available · "
        f"{_file_system(folder)}, {shutil.disk_usage(folder).free / 1e9:.0f} GB free · load {os.getloadavg()[0]:.2f}\n"
        f"Linux {platform.release()} · Python {platform.python_version()}, {versions}"
    )


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def need_space(folder: Path, needed: int) -> None:
    """End the program where the disk has too little room."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(
            f"{needed / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free: give another --folder"
        )
    print(f"{needed / 1e9:.1f} GB are needed in {folder}, {free / 1e9:.1f} GB are free", file=sys.stderr)


def warm(paths: Iterable[Path]) -> None:
    """Read files once, after what earlier runs left to write has been written."""
    os.sync()
    block = bytearray(8 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass


def chill(paths: Iterable[Path]) -> str:
    """Put files out of the page cache and say how: all of it where that is allowed, else by advice to the kernel."""
    os.sync()
    try:
        DROP.write_text("3")
    except OSError:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        return "posix_fadvise(DONTNEED) on the inputs"
    return "drop_caches"


def sha256_rate(block_bytes: int = 4 << 20, repeats: int = 256) -> float:
    """Bytes a second on one core, of a block that stays in the core's cache as a freshly computed one would."""
    digest, block = hashlib.sha256(), bytes(block_bytes)
    begin = time.monotonic()
    for _ in range(repeats):
        digest.update(block)
    return block_bytes * repeats / (time.monotonic() - begin)


def _cpu() -> str:
    names = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return next((value.strip() for name, _, value in names if name.strip() == "model name"), platform.machine())


def _file_system(folder: Path) -> str:
    """Type of the file system with the longest mount point above `folder`."""
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    above = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1]
