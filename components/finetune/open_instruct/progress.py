"""Open-Instruct's output as it comes: figures for the run's record, and what a failure most likely is."""

import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.errors import BadParameter, ProgramFailed, RecycleError
from components.finetune.open_instruct.command import MARK

LOG_EVERY_SECONDS = 5.0

Report = Callable[[int, dict[str, float]], None]
Note = Callable[[Mapping[str, object]], None]

SYMPTOMS = (
    (
        re.compile(r"out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory", re.IGNORECASE),
        "it ran out of memory",
        "use more or larger GPUs, or shorten max_sequence_length in a recipe of your own",
    ),
    (
        re.compile(r"exitcode\s*:\s*-9\b|Signal 9 \(SIGKILL\)"),
        "one of its processes was killed (SIGKILL), likely because the machine ran out of memory",
        "give the step more memory, and run it again: it goes on from its last complete checkpoint",
    ),
    (
        re.compile(r"NCCL (error|WARN|failure)|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError"),
        "the GPUs could not talk to each other (NCCL)",
        "look for NCCL in its output; a container needs enough /dev/shm",
    ),
    (
        re.compile(r"Some specified arguments are not used|unrecognized arguments|error: argument "),
        "it does not take the arguments that this version of Recycle gives",
        "check out the commit of Open-Instruct that Recycle was tested with",
    ),
    (
        re.compile(r"No examples left after transformation"),
        "no conversation has an answer within the sequence length",
        "raise max_sequence_length in a recipe of your own, or give shorter conversations",
    ),
    (
        re.compile(r"No space left on device"),
        "the disk is full",
        "free some space: a checkpoint takes about 14 bytes a parameter, and two are there for a moment",
    ),
    (
        re.compile(r"^(\[rank\d+\]: )?ModuleNotFoundError: "),
        "its environment lacks a package",
        "install that into the environment, as Open-Instruct's requirements have it",
    ),
)
"""What the output of a failed run has in it, what that means, and what to do; the first that is found counts."""

LAST_WORDS = 12
LAUNCHER_SPEAKS = re.compile(r"torch/distributed/elastic/|ChildFailedError")

logger = logging.getLogger(__name__)


def last_words(log: Path) -> list[str]:
    """The last lines of the processes themselves; the launcher's own report of dozens of lines follows them."""
    lines: deque[str] = deque(maxlen=LAST_WORDS)
    if log.is_file():
        with log.open(encoding="utf-8") as file:
            for line in file:
                if LAUNCHER_SPEAKS.search(line):
                    break
                if line.strip() and not line.startswith(MARK):
                    lines.append(line.rstrip())
    return list(lines)


class Watch:
    """Reads the lines of a run."""

    def __init__(self, report: Report, note: Note) -> None:
        self._report = report
        self._note = note
        self._logged = 0.0
        self._symptoms: set[int] = set()
        self._told: RecycleError | None = None
        self.resumed_from = 0
        self.rows: dict[str, int] = {}
        """Counts of what was learned from, once they are known."""
        self.last: dict[str, float] = {}
        """The figures that were reported last."""

    def line(self, line: str) -> None:
        """Take a line of the program's output."""
        if line.startswith(MARK):
            event = json.loads(line.removeprefix(MARK))
            getattr(self, "_" + event.pop("event").replace(" ", "_"))(event)
            return
        self._symptoms |= {index for index, (pattern, _, _) in enumerate(SYMPTOMS) if pattern.search(line)}

    def failure(self, error: ProgramFailed, log: Path) -> RecycleError:
        """What to tell when the program, whose output is in `log`, has failed with `error`."""
        if self._told is not None:
            return self._told
        what, hint = "", error.hint
        if self._symptoms:
            _, meaning, advice = SYMPTOMS[min(self._symptoms)]
            what, hint = f": {meaning}", f"{advice}; {error.hint}"
        said = "".join(f"\n  | {line[:500]}" for line in last_words(log))
        return ProgramFailed(f"Open-Instruct failed{what}; before it was stopped:{said}\n{error.problem}", hint=hint)

    def _data(self, event: dict[str, int]) -> None:
        self.rows = event
        logger.info(
            "%(rows)d conversations: %(dropped)d have no answer within the sequence length, %(cut)d are cut to it or "
            "fill it, %(left_out)d do not fill a batch; %(tokens)d tokens, %(learned_tokens)d of them learned",
            event,
        )
        self._note({f"data {name.replace('_', ' ')}": count for name, count in event.items()})
        if event["rows"] - event["dropped"] - event["left_out"] == 0:
            self._told = BadParameter(
                f"{event['rows']} conversations, {event['dropped']} of them without an answer within the sequence "
                f"length, do not fill one batch of {event['batch']}",
                hint="give more or shorter conversations, or lower effective_batch_size in a recipe of your own",
            )

    def _resumed(self, event: dict[str, int]) -> None:
        self.resumed_from = event["step"]
        logger.info("going on after step %d", self.resumed_from)

    def _not_finite(self, event: dict[str, Any]) -> None:
        self._told = ProgramFailed(
            f"the loss became {event['loss']} by step {event['step']}",
            hint="lower the learning rate in a recipe of your own, and check the base and the data",
        )

    def _step(self, event: dict[str, float]) -> None:
        step = int(event.pop("step"))
        self.last = event
        self._report(step, event)
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            logger.info("step %d: loss %.4f, %.0f tokens/s", step, event["loss"], event["tokens_per_second"])
