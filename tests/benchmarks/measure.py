"""One run of a program in a process of its own: seconds, memory, bytes."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SAMPLES_PER_SECOND = 20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run took."""

    seconds: float
    """From start to exit, of the interpreter too."""
    flush: float
    """Seconds that an fsync of the output took afterwards: what a program that does not wait for its disk saved."""
    cpu: float
    """Seconds on a core, summed over threads and waited-for children."""
    peak: int
    """Bytes resident, file pages that are mapped included: the largest sum over the process and its descendants in
    20 samples a second, or the high-water mark that the kernel keeps of one of them, which no sample can miss."""
    own: int
    """Bytes resident that are no file's pages, likewise sampled; these are what cannot be given back under pressure."""
    read: int
    """Bytes that read calls returned (rchar in /proc/PID/io): from cache or disk, but not what is read by mapping."""
    written: int
    """Bytes given to write calls (wchar), likewise."""


def run(command: list[str], output: Path, environment: dict[str, str]) -> Measured:
    """Run a program that writes the folder `output`, which is left for the caller to look at and remove."""
    with tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | environment, start_new_session=True
        )
        with _Sampler(process.pid) as sampler:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.monotonic() - begin
        # A process that has ended but is not yet waited for still tells what it read and wrote, and the kernel has
        # added what its own children did.
        counted = _fields(Path(f"/proc/{process.pid}/io"))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}\nended with {process.returncode}:\n{errors.read().decode()[-3000:]}")
    return Measured(
        seconds=seconds,
        flush=_flush(output),
        cpu=usage.ru_utime + usage.ru_stime,
        peak=sampler.peak,
        own=sampler.own,
        read=counted.get("rchar", 0),
        written=counted.get("wchar", 0),
    )


def _flush(output: Path) -> float:
    begin = time.monotonic()
    for path in output.glob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.monotonic() - begin


@dataclass
class _Sampler:
    """Looks at the memory of a process tree while the `with` block runs."""

    root: int
    peak: int = 0
    own: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "_Sampler":
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(1 / SAMPLES_PER_SECOND):
            states = [_fields(Path(f"/proc/{pid}/status")) for pid in _tree(self.root)]
            # Not the ru_maxrss of wait4: the kernel starts it at the size of the process that forked.
            highest = max((state.get("VmHWM", 0) for state in states), default=0)
            resident = sum(state.get("VmRSS", 0) for state in states)
            self.peak = max(self.peak, resident * 1024, highest * 1024)
            own = sum(state.get("RssAnon", 0) + state.get("RssShmem", 0) for state in states)
            self.own = max(self.own, own * 1024)


def _tree(root: int) -> Iterator[int]:
    yield root
    for children in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _tree(int(child))


def _fields(path: Path) -> dict[str, int]:
    """The `name: number` lines of a file in /proc, empty for a process that has gone."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) for name, _, value in pairs if value.split()[:1] and value.split()[0].isdigit()}
