"""The steps of a run as MLflow knows them, for runs that KFP's API tells nothing new of."""

import os
from collections.abc import Iterator

from components.errors import ServiceUnavailable
from components.tracking import TrackedRun, read_children

WORDS = {"FINISHED": "✓", "FAILED": "✗", "KILLED": "✗"}


class TrackedSteps:
    """The child runs of a pipeline's run in MLflow."""

    def __init__(self, run_id: str, known: set[str]) -> None:
        """Look whether they can be read.

        Args:
            run_id: the pipeline's run, empty where KFP's plugin opened none.
            known: names of steps whose end was shown already.
        """
        self.where = f"run {run_id} in MLflow"
        self._run_id = run_id
        self.failure = ""
        """The first failure that a step's run has."""
        self._shown = {(name, "FINISHED") for name in known}
        address = os.environ.get("MLFLOW_TRACKING_URI")
        self.is_there = bool(run_id and address) and self._read() is not None

    def news(self) -> Iterator[str]:
        """A line for each step that started or ended since the last call."""
        for one in (self._read() or ()) if self.is_there else ():
            if (one.name, one.status) in self._shown or (
                one.status == "RUNNING" and (one.name, "FINISHED") in self._shown
            ):
                continue
            self._shown.add((one.name, one.status))
            seconds = f"  {one.seconds:.0f} s" if one.seconds is not None else ""
            yield f"  {WORDS.get(one.status, '→')} {one.name}{seconds} (as MLflow has it)"
            if one.failure:
                self.failure = self.failure or one.failure
                yield f"      {one.failure}"

    def _read(self) -> list[TrackedRun] | None:
        try:
            return read_children(self._run_id)
        except ServiceUnavailable:
            return None
