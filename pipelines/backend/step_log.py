"""What a step's pod wrote, read for what people want to know of it."""

import json
import re
from typing import Any

from components.tracking import EVENT_MARK
from pipelines.backend.node_names import StepState

LAST_LINES = 8
"""Of a log that says nothing in our form, shown where the step failed."""
GLOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] ")
"""Begins the lines of KFP's own programs around a step; the first letter is their level."""


class StepLog:
    """A log, empty where there is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: dict[str, dict[str, Any]] = {}
        for line in text.splitlines():
            if (event := _event(line)) is not None:
                # The log of a pod that was restarted holds both tries: the last one counts.
                self._events = {} if event["event"] == "started" else self._events
                self._events[event["event"]] = event

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self._text

    @property
    def outcome(self) -> dict[str, Any]:
        """What the step says that it came to."""
        return dict(self._events.get("ended", {}).get("outcome", {}))

    @property
    def notes(self) -> list[str]:
        """What people should know although the step went well."""
        return [note for note in (self.outcome.get("warning"), *self.outcome.get("notes", ())) if note]

    def problem(self, step: StepState) -> tuple[str, str]:
        """Why the step failed, and what to do."""
        setting = re.sub(r"(-\d+)+$", "", step.key)
        if "failed" in self._events:
            return self._events["failed"]["problem"], self._events["failed"]["do"]
        if "interrupted" in self._events:
            return (
                "its pod was ended from outside, for its timeout or with its node",
                f"give it longer with --set {setting}.timeout=… if it needs that",
            )
        if "started" in self._events:
            return (
                "it was killed before it could say why, most likely because memory ran out",
                f"give it more with --set {setting}.memory_limit=…",
            )
        told = self._last_words()
        if not told:
            return "it left no log", "look at its pod in KFP's UI or with kubectl"
        return "its log ends with:\n" + "\n".join(f"      {line}" for line in told), "correct what it names"

    def _last_words(self) -> list[str]:
        # KFP's executor prints all of a step's input first.
        lines = re.split(r"Got executor_input:\n(?s:.*?)\n}\n", self._text, maxsplit=1)[-1].splitlines()
        own = [line for line in lines if line.strip() and not GLOG.match(line) and "[KFP Executor " not in line]
        errors = [GLOG.sub("", line) for line in lines if GLOG.match(line) and line[0] in "EF"]
        return (own or errors)[-LAST_LINES:]


def _event(line: str) -> dict[str, Any] | None:
    _, mark, rest = line.partition(EVENT_MARK)
    try:
        found: dict[str, Any] | None = json.loads(rest) if mark else None
    except ValueError:  # cut off in the middle, as its pod was
        return None
    return found
