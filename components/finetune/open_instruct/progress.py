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
from components.system import GENERAL, Symptom, diagnose

LOG_EVERY_SECONDS = 5.0

Report = Callable[[int, dict[str, float]], None]
Note = Callable[[Mapping[str, object]], None]

SYMPTOMS = (
    *GENERAL,
    Symptom(
        pattern=r"Some specified arguments are not used|unrecognized arguments|error: argument ",
        meaning="it does not take the arguments that this version of Recycle gives",
        hint="check out the commit of Open-Instruct that Recycle was tested with",
    ),
    Symptom(
        pattern=r"No examples left after transformation",
        meaning="no conversation has an answer within the sequence length",
        hint="raise max_sequence_length in a recipe of your own, or give shorter conversations",
    ),
)

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


class TrainingMonitor:
    """Reads the lines of a training as they come, reports its figures, and keeps what a failure is explained by."""

    def __init__(self, report: Report, note: Note) -> None:
        self._report = report
        self._note = note
        self._logged = 0.0
        self._symptoms: set[Symptom] = set()
        self._explained: RecycleError | None = None

    def line(self, line: str) -> None:
        """Take a line of the program's output."""
        if line.startswith(MARK):
            event = json.loads(line.removeprefix(MARK))
            getattr(self, "_" + event.pop("event").replace(" ", "_"))(event)
            return
        symptom = diagnose(line, SYMPTOMS)
        self._symptoms |= {symptom} if symptom else set()

    def failure(self, error: ProgramFailed, log: Path) -> RecycleError:
        """The error to tell of, where the program, whose output is in `log`, has failed with `error`."""
        if self._explained is not None:
            return self._explained
        what, hint = "", error.hint
        if self._symptoms:
            symptom = min(self._symptoms, key=SYMPTOMS.index)
            what, hint = f": {symptom.meaning}", f"{symptom.hint}; {error.hint}"
        said = "".join(f"\n  | {line[:500]}" for line in last_words(log))
        return ProgramFailed(f"Open-Instruct failed{what}; before it was stopped:{said}\n{error.problem}", hint=hint)

    def _data(self, event: dict[str, int]) -> None:
        logger.info(
            "%(rows)d conversations: %(dropped)d have no answer within the sequence length, %(cut)d are cut to it or "
            "fill it, %(left_out)d do not fill a batch; %(tokens)d tokens, %(learned_tokens)d of them learned",
            event,
        )
        self._note({f"data {name.replace('_', ' ')}": count for name, count in event.items()})
        if event["rows"] - event["dropped"] - event["left_out"] == 0:
            self._explained = BadParameter(
                f"{event['rows']} conversations, {event['dropped']} of them without an answer within the sequence "
                f"length, do not fill one batch of {event['batch']}",
                hint="give more or shorter conversations, or lower effective_batch_size in a recipe of your own",
            )

    def _resumed(self, event: dict[str, int]) -> None:
        logger.info("going on after step %d", event["step"])

    def _not_finite(self, event: dict[str, Any]) -> None:
        self._explained = ProgramFailed(
            f"the loss became {event['loss']} by step {event['step']}",
            hint="lower the learning rate in a recipe of your own, and check the base and the data",
        )

    def _step(self, event: dict[str, float]) -> None:
        step = int(event.pop("step"))
        self._report(step, event)
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            logger.info("step %d: loss %.4f, %.0f tokens/s", step, event["loss"], event["tokens_per_second"])
