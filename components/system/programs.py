"""Running other people's programs: output streamed, signals passed on, failures explained by their last lines."""

import ctypes
import logging
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from components.errors import ProgramFailed
from components.system.secrets import masker

LAST_LINES = 20
GRACE_SECONDS = 20.0
"""Seconds between passing a signal on and killing; Kubernetes itself gives 30."""
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.25
MAX_LINE_BYTES = 1 << 16
LINE_END = re.compile(rb"(?<=\n)|(?<=\r)(?=[^\n])")

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

logger = logging.getLogger(__name__)


def run_program(
    command: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a program to its end.

    SIGINT and SIGTERM that reach this process go to the program's whole process group; once the program has ended
    they take their usual effect here. Values of environment variables named like secrets are masked in the log and in
    errors. The program, and all in its process group, ends no later than this call; the program itself also with this
    process.

    Args:
        command: program and arguments; no shell is involved.
        log: file that gets every line, replaced if it exists.
        env: variables added to this process's own.
        cwd: the program's working directory.
        on_line: called, unmasked, with every line of standard output and standard error, in their order.
            Progress bars, which end their lines with a carriage return, come through once every few seconds.

    Raises:
        ProgramFailed: it could not be started, or ended with anything but exit code 0.
    """
    environment = {**os.environ, **(env or {})}
    output = _Output(mask=masker(environment), log=log, on_line=on_line)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    except OSError as error:
        raise ProgramFailed(
            f"{command[0]} could not be started: {error.strerror}",
            hint="check that it is installed in this environment",
        ) from None
    with output, _signals_passed_on(process) as passed:
        try:
            _follow(process, output, passed)
        finally:
            _kill_group(process)
            process.wait()
    for number in passed:
        signal.raise_signal(number)
    if process.returncode:
        raise _failure(command, process.returncode, output)


class _Output:
    """Splits a program's output into lines for the log and the caller, and keeps the last ones for an error."""

    def __init__(self, *, mask: Callable[[str], str], log: Path | None, on_line: Callable[[str], None] | None) -> None:
        self.mask = mask
        self.log = log
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line
        self._file: IO[str] | None = None
        self._pending = b""
        self._last_progress = 0.0

    def __enter__(self) -> "_Output":
        if self.log:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.log.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pending:
            self._line(self._pending)
        if self._file:
            self._file.close()

    def feed(self, data: bytes) -> None:
        """Take what was read; the end of a line may not have come yet."""
        *lines, self._pending = LINE_END.split(self._pending + data)
        if len(self._pending) > MAX_LINE_BYTES:
            lines, self._pending = [*lines, self._pending], b""
        for line in lines:
            self._line(line)

    def _line(self, raw: bytes) -> None:
        if raw.endswith(b"\r"):
            now = time.monotonic()
            if now - self._last_progress < PROGRESS_SECONDS:
                return
            self._last_progress = now
        line = raw.decode("utf-8", errors="replace").rstrip()
        if not line:
            return
        if self._on_line:
            self._on_line(line)
        text = self.mask(line)
        self.last.append(text)
        if self._file:
            self._file.write(text + "\n")


def _follow(process: subprocess.Popen[bytes], output: _Output, passed: Mapping[int, float]) -> None:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    descriptor = process.stdout.fileno()
    with process.stdout:
        while True:
            ended = process.poll() is not None
            if select.select([descriptor], [], [], 0 if ended else POLL_SECONDS)[0]:
                data = os.read(descriptor, MAX_LINE_BYTES)
                if not data:
                    break
                output.feed(data)
            elif ended:
                # Something that the program started in the background still holds its output open.
                _kill_group(process)
                break
            _kill_if_overdue(process, passed)
    while process.poll() is None:
        _kill_if_overdue(process, passed)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)


def _kill_if_overdue(process: subprocess.Popen[bytes], passed: Mapping[int, float]) -> None:
    if passed and time.monotonic() - min(passed.values()) > GRACE_SECONDS:
        _kill_group(process)


def _end_with_parent() -> None:
    """Have the child, in which this runs, be killed when the parent dies, however it dies (Linux, prctl(2))."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _signals_passed_on(process: subprocess.Popen[bytes]) -> Iterator[dict[int, float]]:
    """Give a mapping that fills with the signals that came and when they first did."""
    passed: dict[int, float] = {}
    if threading.current_thread() is not threading.main_thread():
        yield passed
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        passed.setdefault(number, time.monotonic())
        logger.warning("passing %s on to the running program", signal.Signals(number).name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(command: Sequence[str], returncode: int, output: _Output) -> ProgramFailed:
    if returncode == -signal.SIGKILL:
        how = "was killed by SIGKILL, likely because it ran out of memory"
        hint = "give the step more memory, or make the batch smaller"
    else:
        how = f"ended with exit code {returncode}" if returncode > 0 else f"was ended by {_signal_name(-returncode)}"
        hint = f"read its whole output in {output.log}" if output.log else "read its last lines above"
    lines = "".join(f"\n  | {line[:500]}" for line in output.last)
    said = f"; its last lines:{lines}" if lines else " and said nothing"
    return ProgramFailed(f"{output.mask(shlex.join(command))} {how}{said}", hint=hint)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
