"""What a step's pod wrote: the events that the step reports, and else its last lines."""

import json
import re
from typing import Any

from components.tracking import EVENT_MARK
from pipelines.backend.endings import Cause, why_ended
from pipelines.backend.steps import StepState

LAST_LINES = 8
"""Of a log that says nothing in our form, shown where the step failed."""
GLOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] ")
"""Begins the lines of KFP's own programs around a step; the first letter is their level."""

AROUND = re.compile(r"\[KFP Executor |^time=\S+ level=\w+ .*argo=true|^Error: exit status \d+$")
"""Lines of KFP's executor and of Argo's."""


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

    @property
    def says_why(self) -> bool:
        """Whether the step reported its own failure."""
        return "failed" in self._events

    @property
    def own_name(self) -> str:
        """What the step calls itself, which names its iteration; empty where it did not start."""
        return str(next(iter(self._events.values()), {}).get("step", ""))

    def cause(self, step: StepState) -> Cause:
        """Why the step failed: as it says itself, else as Argo says of its pod, else as far as its log tells."""
        if "failed" in self._events:
            return Cause(problem=self._events["failed"]["problem"], hint=self._events["failed"]["do"])
        if step.pod is not None and (found := why_ended(step.pod.message, step.setting)):
            return found
        if "interrupted" in self._events:
            return Cause(
                problem="its pod was ended from outside: for its timeout, or because it was evicted or deleted",
                hint=f"if it needs longer, give it that with --set {step.setting}.timeout=…",
            )
        if "started" in self._events:
            return Cause(
                problem="it was killed before it could say why, most likely because memory ran out",
                hint=f"give it more with --set {step.setting}.memory_limit=…",
            )
        if lines := self._last_words():
            shown = "\n".join(f"      {line}" for line in lines)
            return Cause(problem=f"its log ends with:\n{shown}", hint="correct what it names")
        message = step.pod.message if step.pod else ""
        return Cause(
            problem=f"it left no log{f', and Argo says: {message}' if message else ''}",
            hint="look at its pod in KFP's UI or with kubectl",
        )

    def _last_words(self) -> list[str]:
        # KFP's executor prints all of a step's input first.
        lines = re.split(r"Got executor_input:\n(?s:.*?)\n}\n", self._text, maxsplit=1)[-1].splitlines()
        own = [line for line in lines if line.strip() and not GLOG.match(line) and not AROUND.search(line)]
        errors = [GLOG.sub("", line) for line in lines if GLOG.match(line) and line[0] in "EF"]
        return (own or errors)[-LAST_LINES:]


def _event(line: str) -> dict[str, Any] | None:
    _, prefix, rest = line.partition(EVENT_MARK)
    try:
        found: dict[str, Any] | None = json.loads(rest) if prefix else None
    except ValueError:  # cut off in the middle, as its pod was
        return None
    return found
