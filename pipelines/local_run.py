"""`recycle run`: a pipeline on this machine, told as people want to read it."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from components import settings
from components.errors import ProgramFailed, RecycleError, ServiceUnavailable
from components.evaluate.suite import check_harness, load_suite
from components.finetune.dataset import check_dataset
from components.finetune.open_instruct_checkout import check_trainer
from components.finetune.recipe import load_recipe
from components.programs import run as run_program
from components.resolve.choice import Choice, complete
from components.resolve.resolve import check_values
from components.step import EVENT_MARK
from components.tracking import close_run
from components.work import disk_errors

QUIET = {
    "PYTHONUNBUFFERED": "1",
    "TQDM_MININTERVAL": "5",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin while they wait take the cores from the ones that work.
    "OMP_WAIT_POLICY": "PASSIVE",
}


@dataclass(kw_only=True)
class RunResult:
    """What a run came to."""

    pipeline: str
    run_id: str
    parameters: Mapping[str, Any]
    seconds: float = 0.0
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Name, state and seconds of each step, in order; seconds count from the end of the one before."""
    outcome: dict[str, Any] = field(default_factory=dict)
    """What the steps say of themselves: table, passed, reason, report, model, version, aliases, uri."""
    log: str = ""

    def to_json(self) -> str:
        """One machine-readable object."""
        return json.dumps(self.__dict__, ensure_ascii=False, indent=2, default=str)


def run_pipeline(name: str, parameters: Mapping[str, Any], say: Callable[[str], None]) -> RunResult:
    """Run a pipeline here, telling each step as it starts and ends.

    Raises:
        BadParameter: a value cannot be; nothing was started.
        RecycleError: a step failed; the message says which, why and what to do.
        KeyboardInterrupt: the user stopped it.
    """
    _check(parameters)
    run_id = datetime.now().strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
    folder = settings.home() / "runs" / run_id
    with disk_errors(folder):
        folder.mkdir(parents=True)
    result = RunResult(pipeline=name, run_id=run_id, parameters=parameters, log=str(folder / "log.txt"))
    follower = _Follower(result, say)
    command = [sys.executable, "-m", "pipelines.worker", name, str(folder / "artifacts"), json.dumps(parameters)]
    environment = QUIET | {
        "RECYCLE_RUN_ID": run_id,
        "RECYCLE_HOME": str(settings.home()),
        "RECYCLE_STORE": settings.store_uri(),
    }
    say(f"{name} · run {run_id} · log {_short(folder / 'log.txt')}")
    try:
        run_program(command, log=folder / "log.txt", env=environment, on_line=follower.line)
    except ProgramFailed as error:
        if follower.killed:
            with suppress(ServiceUnavailable):  # why the run ended matters more
                close_run(run_id, follower.killed)
        raise follower.failure(error) from None
    result.seconds = follower.elapsed()
    _keep_report(result, folder)
    return result


def _check(parameters: Mapping[str, Any]) -> None:
    """Refuse what would fail in some later step, before the first one starts.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    given = Choice(**{part.name: parameters.get(part.name, "") for part in fields(Choice)})
    chosen = complete(given, parameters["transfer"], finetunes="recipe" in parameters)
    check_values(
        scale=parameters["scale"],
        dtype=parameters["dtype"],
        suite=chosen.suite,
        recipe=chosen.recipe,
        gate_tolerance=parameters["gate_tolerance"],
        model_name=parameters["model_name"],
    )
    check_harness(load_suite(chosen.suite))
    if chosen.recipe:
        recipe = load_recipe(chosen.recipe)
        check_trainer(recipe)
        check_dataset(parameters["dataset"] or recipe.dataset)


class _Follower:
    """Reads the steps' events out of the worker's output."""

    def __init__(self, result: RunResult, say: Callable[[str], None]) -> None:
        self._result = result
        self._say = say
        self._started = self._mark = time.monotonic()
        self._running = self._killed = ""
        self._failure: RecycleError | None = None

    def elapsed(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._started, 1)

    @property
    def killed(self) -> str:
        """What became of a step that began and never said how it ended, empty where there is none."""
        name = self._killed or self._running
        return name and f"step {name!r} was killed before it could say why, most likely because memory ran out"

    def line(self, line: str) -> None:
        """Take one line of output."""
        _, mark, event = line.partition(EVENT_MARK)
        if mark:
            self._event(json.loads(event))

    def _event(self, event: dict[str, Any]) -> None:
        name, kind = event["step"], event["event"]
        if kind == "started":
            self._killed = self._killed or self._running  # one step runs at a time; those beside a failed one go on
            self._running = name
            self._say(f"  → {name}")
            return
        now = time.monotonic()
        seconds, self._mark = round(now - self._mark, 1), now
        self._running = ""
        self._result.steps.append({"step": name, "state": kind, "seconds": seconds})
        if kind == "ended":
            self._keep(event["outcome"])
            self._say(f"  ✓ {name}  {seconds:.1f} s")
            for note in filter(None, (event["outcome"].get("warning"), *event["outcome"].get("notes", ()))):
                self._say(f"      {note}")
        elif kind == "failed":
            self._say(f"  ✗ {name}  {seconds:.1f} s")
            self._failure = ProgramFailed(f"step {name!r} failed: {event['problem']}", do=self._next(event["do"]))

    def _keep(self, outcome: dict[str, Any]) -> None:
        # Of two comparisons, the one with more models says all that the other does.
        if len(outcome.get("metrics", ())) >= len(self._result.outcome.get("metrics", ())) or "metrics" not in outcome:
            self._result.outcome.update(outcome)

    def failure(self, error: ProgramFailed) -> RecycleError:
        """The error that tells best why the worker ended."""
        if self._failure is not None:
            return self._failure
        if self.killed:
            return ProgramFailed(self.killed, do=self._next("free some memory"))
        return ProgramFailed(f"the run ended without a word: {error.problem}", do=self._next(error.do))

    def _next(self, do: str) -> str:
        return f"{do}; then run the same command again, finished work is reused (log: {_short(Path(self._result.log))})"


def _keep_report(result: RunResult, folder: Path) -> None:
    report = result.outcome.get("report")
    if report:
        kept = folder / "report.html"
        kept.write_bytes(Path(report).read_bytes())
        result.outcome["report"] = str(kept)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
