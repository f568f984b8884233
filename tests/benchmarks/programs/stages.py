"""One real `recycle transfer`, timed from inside: seconds by stage, summed over its threads.

python stages.py REPORT BASE TUNED TARGET OUTPUT
"""

import functools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.system.direct_io import ShardFile
from components.system.threads import Sequencer
from components.transfer import stream
from components.transfer.input_digests import InputDigests
from pipelines.cli.main import main as recycle


class Clock:
    """Seconds by stage, without those of the stages inside: all of them, and those on a core."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.on_core: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._switch(push=name)
        try:
            yield
        finally:
            self._switch(push=None)

    def _switch(self, push: str | None) -> None:
        now, cpu = time.monotonic(), time.thread_time()
        stack = self._own.__dict__.setdefault("stack", [])
        if stack:
            since, cpu_since = self._own.since
            with self._lock:
                self.seconds[stack[-1]] += now - since
                self.on_core[stack[-1]] += cpu - cpu_since
        if push is None:
            stack.pop()
        else:
            stack.append(push)
        self._own.since = now, cpu

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return wrapped


def instrument(clock: Clock) -> None:
    """Put timers around the engine's stages."""
    for owner, name, stage in (
        (stream.ShardWriter, "_span", "other"),
        (stream.ShardWriter, "_read", "read"),
        (stream.ShardWriter, "_compute", "compute"),
        (stream.ShardWriter, "_hash", "hash the result"),
        (ShardFile, "__init__", "reserve"),
        (ShardFile, "write", "write"),
        (ShardFile, "finish", "fsync"),
        (InputDigests, "offer", "hash the inputs"),
        (InputDigests, "finish", "hash the inputs"),
    ):
        setattr(owner, name, clock.timed(stage, getattr(owner, name)))
    take_turn = Sequencer.turn

    @contextmanager
    def timed_turn(self: Sequencer, number: int) -> Iterator[None]:
        turn = take_turn(self, number)
        with clock.stage("wait for a turn"):
            turn.__enter__()
        yield
        turn.__exit__(None, None, None)

    Sequencer.turn = timed_turn


def main() -> None:
    report, *folders = sys.argv[1:]
    clock = Clock()
    instrument(clock)
    begin = time.monotonic()
    recycle(["transfer", *folders], standalone_mode=False)
    stages = {name: [seconds, clock.on_core[name]] for name, seconds in clock.seconds.most_common()}
    Path(report).write_text(json.dumps({"seconds": time.monotonic() - begin, "stages": stages}))


main()
