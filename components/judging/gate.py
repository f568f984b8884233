"""Whether a model is good enough to take a fine-tuned model's place."""

from dataclasses import dataclass

from components.judging.paired import Estimate
from components.judging.wording import interval, points

DEFAULT_TOLERANCE = 0.02
"""In score units: how far below the model whose place it takes a model may score."""

ROUNDING = 1e-9
"""A difference of exactly the tolerance passes, whatever the last bits of its mean are."""


@dataclass(frozen=True, kw_only=True)
class GateCheck:
    """One condition of the gate."""

    name: str
    passed: bool
    finding: str
    """What was found, with figures, as the rest of a sentence that begins with the judged model."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """Whether the gate opens, and why."""

    passed: bool
    reason: str
    checks: tuple[GateCheck, ...]


def decide_gate(
    *,
    against_base: Estimate,
    against_rival: Estimate,
    tolerance: float = DEFAULT_TOLERANCE,
    against_first: Estimate | None = None,
    candidate: str = "recycled model",
    rival: str = "source fine-tuned model",
    nonfinite: int = 0,
) -> GateDecision:
    """Judge a model by its mean score over the suite's tasks.

    Args:
        against_base: candidate − target base; its whole interval must be above 0.
        against_rival: candidate − the model that it is to take the place of; its value must be at least −`tolerance`.
        tolerance: in score units, so that 0.02 is 2 percentage points.
        against_first: recycled − recycled at the scale that was set, where another scale was chosen; at least 0.
        candidate: what the judged model is called in sentences.
        rival: what the other one is called in them.
        nonfinite: weights of the judged model that are NaN or infinite. Its scores then say nothing: of answers that
            are all NaN, a harness takes the first.
    """
    checks = [_better_than_base(against_base), _keeps_up(against_rival, tolerance, rival)]
    checks += [_is_no_worse(against_first)] if against_first else []
    checks += [_has_no_numbers(nonfinite)] if nonfinite else []
    failed = [check for check in checks if not check.passed]
    reason = f"The {candidate} {' and '.join(check.finding for check in failed or checks)}."
    return GateDecision(passed=not failed, reason=reason, checks=tuple(checks))


def _better_than_base(found: Estimate) -> GateCheck:
    if found.low > 0:
        finding = f"beats the target base by {_amount(found.value)} (95 % interval {interval(found)})"
    elif found.high < 0:
        finding = f"scores {_amount(found.value)} below the target base (95 % interval {interval(found)})"
    else:
        finding = (
            f"is not shown to beat the target base: the difference is {points(found.value)} points, "
            f"and its 95 % interval, {interval(found)}, reaches 0"
        )
    return GateCheck(name="Beats the target base", passed=found.low > 0, finding=finding)


def _keeps_up(found: Estimate, tolerance: float, rival: str) -> GateCheck:
    side = "above" if found.value >= 0 else "below"
    return GateCheck(
        name=f"Keeps up with the {rival}",
        passed=found.value >= -tolerance - ROUNDING,
        finding=f"scores {_amount(found.value)} {side} the {rival} (at most {_amount(tolerance)} below is allowed)",
    )


def _is_no_worse(found: Estimate) -> GateCheck:
    """What a quick suite chose must hold on the whole one."""
    side = "above" if found.value >= 0 else "below"
    return GateCheck(
        name="Is no worse than at the scale that was set",
        passed=found.value >= -ROUNDING,
        finding=f"scores {_amount(found.value)} {side} the one at the scale that was set",
    )


def _has_no_numbers(nonfinite: int) -> GateCheck:
    finding = f"has {nonfinite:,} weights that are NaN or infinite, so that its scores say nothing"
    return GateCheck(name="Has finite weights", passed=False, finding=finding)


def _amount(value: float) -> str:
    return f"{points(abs(value)).lstrip('+')} points"
