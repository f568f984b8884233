"""`recycle run`: a pipeline on this machine, shown as people want to read it."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from components import settings
from components.errors import ProgramFailed, RecycleError, ServiceUnavailable
from components.system import disk_errors, run_program
from components.tracking import EVENT_MARK, close_run
from pipelines.parts import load_pipeline

CHOSEN_SCALE = "recycled at the chosen scale"
"""The role of the model that a search of λ chose, where it is not the main line's."""

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
    """What the steps report: table, passed, reason, report, model, version, aliases, uri."""
    log: str = ""
    incomplete: str = ""
    """What is missing here, and where it is; empty where nothing is."""

    def lines(self) -> list[str]:
        """The result for people, without the lines that no step reported anything for."""
        out = self.outcome
        found = [out["table"], ""] if "table" in out else []
        if "watch" in out:
            found.append(f"Watch:      {_watched(out['watch'], out.get('recorded', ''))}")
        if "passed" in out:
            found.append(f"Gate {'passed' if out['passed'] else 'FAILED'}: {out['reason']}")
        if "model" in out:
            found.append(f"Registered: {out['model']} version {out['version']} {_aliases(out)}")
            found.append(f"Weights:    {out['uri']}")
        if "report" in out:
            found.append(f"Report:     {out['report']}")
        if "scale search" in out:
            found += [f"Scale:      {out['scale search']}", f"Curve:      {out['scale report']}"]
        if CHOSEN_SCALE in out:
            verdict, made = out["comparison at the chosen scale"], out[CHOSEN_SCALE]
            found += [
                f"At that scale: gate {'passed' if verdict['passed'] else 'FAILED'}: {verdict['reason']}",
                f"            {made['model']} version {made['version']} {_aliases(made)}: {made['uri']}",
            ]
        if self.incomplete:
            found.append(f"Not complete: {self.incomplete}.")
        return [*found, f"Took {self.seconds:.0f} s."]

    def keep(self, outcome: Mapping[str, Any]) -> None:
        """Take in what a step reports."""
        # Of two comparisons, the one with more models says all that the other does.
        if len(outcome.get("metrics", ())) >= len(self.outcome.get("metrics", ())) or "metrics" not in outcome:
            self.outcome.update(outcome)

    def to_json(self) -> str:
        """One machine-readable object."""
        return json.dumps(self.__dict__, ensure_ascii=False, indent=2, default=str)


def _aliases(registered: Mapping[str, Any]) -> str:
    aliases = registered["aliases"]
    kept = [f"{alias} stays with version {version}" for alias, version in registered.get("kept", {}).items()]
    return "; ".join([f"as {', '.join(aliases)}" if aliases else "without an alias", *kept])


def _watched(watch: Mapping[str, Any], recorded: str) -> str:
    """What a tick found, in one line."""
    if recorded:
        return f"recycled onto {recorded}; {watch['counts'].get('waiting', 0)} more at {watch['releases']} wait"
    counts = ", ".join(f"{number} {status}" for status, number in watch["counts"].items()) or "nothing is there yet"
    took = f"took {watch['taken']}" if watch["taken"] else "nothing new"
    return f"{took} at {watch['releases']} ({counts})"


def run_pipeline(name: str, parameters: Mapping[str, Any], say: Callable[[str], None]) -> RunResult:
    """Run a pipeline here, and show each step as it starts and ends.

    Raises:
        BadParameter: a value is not valid; nothing was started.
        RecycleError: a step failed; the message says which, why and what to do.
        KeyboardInterrupt: the user stopped it.
    """
    load_pipeline(name).check(parameters, here=True)
    run_id = datetime.now().strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
    folder = settings.home() / "runs" / run_id
    with disk_errors(folder):
        folder.mkdir(parents=True)
    result = RunResult(pipeline=name, run_id=run_id, parameters=parameters, log=str(folder / "log.txt"))
    reader = _EventReader(result, say)
    command = [sys.executable, "-m", "pipelines.local.worker", name, str(folder / "artifacts"), json.dumps(parameters)]
    environment = QUIET | {
        "RECYCLE_RUN_ID": run_id,
        "RECYCLE_HOME": str(settings.home()),
        "RECYCLE_STORE": settings.store_uri(),
    }
    say(f"{name} · run {run_id} · log {_short(folder / 'log.txt')}")
    try:
        run_program(command, log=folder / "log.txt", env=environment, on_line=reader.line)
    except ProgramFailed as error:
        if reader.killed:
            with suppress(ServiceUnavailable):  # why the run ended matters more
                close_run(run_id, reader.killed)
        raise reader.failure(error) from None
    result.seconds = reader.elapsed()
    _keep_report(result, folder)
    return result


class _EventReader:
    """Reads the steps' events out of the worker's output."""

    def __init__(self, result: RunResult, say: Callable[[str], None]) -> None:
        self._result = result
        self._say = say
        self._started = self._last_end = time.monotonic()
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
        _, prefix, event = line.partition(EVENT_MARK)
        if prefix:
            self._event(json.loads(event))

    def _event(self, event: dict[str, Any]) -> None:
        name, kind = event["step"], event["event"]
        if kind == "started":
            self._killed = self._killed or self._running  # one step runs at a time; those beside a failed one go on
            self._running = name
            self._say(f"  → {name}")
            return
        now = time.monotonic()
        seconds, self._last_end = round(now - self._last_end, 1), now
        self._running = ""
        self._result.steps.append({"step": name, "state": kind, "seconds": seconds})
        if kind == "ended":
            self._result.keep(event["outcome"])
            self._say(f"  ✓ {name}  {seconds:.1f} s")
            for note in filter(None, (event["outcome"].get("warning"), *event["outcome"].get("notes", ()))):
                self._say(f"      {note}")
        elif kind == "failed":
            self._say(f"  ✗ {name}  {seconds:.1f} s")
            self._failure = ProgramFailed(f"step {name!r} failed: {event['problem']}", hint=self._next(event["do"]))

    def failure(self, error: ProgramFailed) -> RecycleError:
        """The error that tells best why the worker ended."""
        if self._failure is not None:
            return self._failure
        if self.killed:
            return ProgramFailed(self.killed, hint=self._next("free some memory"))
        return ProgramFailed(f"the run ended without a reason of its own: {error.problem}", hint=self._next(error.hint))

    def _next(self, hint: str) -> str:
        return (
            f"{hint}; then run the same command again, finished work is reused (log: {_short(Path(self._result.log))})"
        )


def _keep_report(result: RunResult, folder: Path) -> None:
    second = result.outcome.get("comparison at the chosen scale", {})
    for outcome, key, name in (
        (result.outcome, "report", "report"),
        (result.outcome, "scale report", "scale search"),
        (second, "report", "report at the chosen scale"),
    ):
        if key in outcome:
            kept = folder / f"{name}.html"
            kept.write_bytes(Path(outcome[key]).read_bytes())
            outcome[key] = str(kept)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
