"""`recycle demo`: a small world in which fine-tuning transfer can be seen, and seen to fail where it must."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import settings
from components.errors import ProgramFailed
from pipelines.local import RunResult, run_pipeline
from pipelines.parts import parse_parameters

CHAINS = (("release-1", "release-2"), ("other-seed",))
"""Releases that are trained one after the other; the chains are independent and use a core each."""

NEW, OLD = "demo_new_facts", "demo_old_facts"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """One model of the demo's table; scores in [0, 1]."""

    model: str
    new: float
    old: float


def run_demo(say: Say, show: Callable[[dict[str, Any]], None] | None) -> None:
    """Make the releases, recycle the fine-tune, then try the same diff vector where it cannot work.

    Args:
        say: gets each line about what happens.
        show: gets everything at the end as one object, instead of the table.
    """
    started = time.monotonic()
    say("Making three releases of a tiny model: release-1, release-2 and the same world from another seed.")
    seconds = {"make the releases": make_releases(say)}
    say("")
    main = run_pipeline("finetune-and-recycle", _parameters("finetune-and-recycle", "finetune_target=true"), say)
    seconds |= {f"{step['step']}": step["seconds"] for step in main.steps}
    say("\nNegative control: the same diff vector on a release that was trained from another seed.")
    control = run_pipeline(
        "recycle",
        _parameters(
            "recycle",
            "source_base=demo:release-1",
            f"source_tuned={main.outcome['source base fine-tuned']}",
            "target_base=demo:other-seed",
            "model_name=demo-control",
        ),
        say,
    )
    seconds["the negative control"] = control.seconds
    rows = _rows(main.outcome, control.outcome)
    findings = _findings(rows, main, control)
    if show:
        show(
            {
                "table": [row.__dict__ for row in rows],
                "findings": findings,
                "seconds": seconds,
                "report": main.outcome["report"],
            }
        )
        return
    _show(say, rows, findings, seconds | {"all of it": round(time.monotonic() - started, 1)}, main)


def make_releases(say: Say) -> float:
    """Train the demo's releases, a process of one thread for each chain; those that are there are kept.

    Returns:
        Seconds.

    Raises:
        ProgramFailed: a training failed.
    """
    started = time.monotonic()
    folder = settings.home() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"{chain[-1]}.log" for chain in CHAINS]
    running = [_train(chain, folder, log) for chain, log in zip(CHAINS, logs, strict=True)]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.terminate()
    for code, log in zip(codes, logs, strict=True):
        if code:
            last = "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])
            raise ProgramFailed(f"training a release ended with exit code {code}:\n{last}", hint=f"see {log}")
    say(f"  ✓ releases in {folder}  {time.monotonic() - started:.1f} s")
    return round(time.monotonic() - started, 1)


def _train(chain: tuple[str, ...], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "components.demo.releases", str(folder), *chain],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


def _parameters(pipeline: str, *assignments: str) -> dict[str, Any]:
    return parse_parameters(pipeline, ("model_name=demo", *assignments))


def _rows(main: Mapping[str, Any], control: Mapping[str, Any]) -> list[ModelScores]:
    found = [
        ("release 1 fine-tuned", main["scores of source fine-tuned"]),
        ("release 2, bare", main["scores of target base"]),
        ("release 2 + Δ of release 1: recycled, no training", main["scores of recycled"]),
        ("release 2 fine-tuned directly", main["scores of target fine-tuned"]),
        ("control: other seed's release 2 + Δ", control["scores of recycled"]),
    ]
    return [ModelScores(model=model, new=scores[NEW], old=scores[OLD]) for model, scores in found]


def _findings(rows: list[ModelScores], main: RunResult, control: RunResult) -> list[str]:
    tuned, bare, recycled, direct, unrelated = rows
    warned = _warned(control.outcome) and not _warned(main.outcome)
    return [
        _finding(
            recycled.new > 0.5 > max(tuned.new, bare.new),
            "the recycled model answers new facts in the format, which neither of its parents does",
        ),
        f"it reaches {recycled.new / direct.new:.0%} of fine-tuning release 2 directly"
        if direct.new
        else "no direct score",
        _finding(unrelated.new < 0.1, "the same diff vector on an unrelated release does not work"),
        _finding(warned, "the compatibility numbers say so before anything is computed"),
        _finding(
            main.outcome["passed"] and not control.outcome["passed"], "the gate passes the one and stops the other"
        ),
    ]


def _finding(shown: bool, claim: str) -> str:
    return f"{'shown' if shown else 'NOT SHOWN'}: {claim}"


def _warned(outcome: Mapping[str, Any]) -> bool:
    return bool(outcome["warning"])


def _show(
    say: Say, rows: list[ModelScores], findings: list[str], seconds: Mapping[str, float], main: RunResult
) -> None:
    say("\nStrict accuracy on questions held out from all fine-tuning:\n")
    say(f"  {'':52}{'new facts':>10}{'old facts':>11}")
    for row in rows:
        say(f"  {row.model:52}{row.new:>9.0%} {row.old:>10.0%}")
    say("")
    for finding in findings:
        say(f"  {finding}")
    say("\nWhere the time went, in seconds:\n")
    for name, spent in seconds.items():
        say(f"  {name:42}{spent:>8.1f}")
    say(f"\nReport: {main.outcome['report']}")
