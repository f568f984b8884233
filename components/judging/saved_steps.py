"""What is reached after how many training steps, from the recycled model and from the target base."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.judging.columns import Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.gate import GateDecision, decide
from components.judging.paired import Estimate, difference, scores

EQUAL = 1e-9
"""Scores that are equal but for their last bits count as reached."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Both models after one number of steps."""

    steps: int
    recycled: Evaluation
    target_base: Evaluation


@dataclass(frozen=True, kw_only=True)
class Row:
    """The same in figures, each by column."""

    steps: int
    recycled: tuple[Estimate, ...]
    target_base: tuple[Estimate, ...]
    lead: tuple[Estimate, ...]
    """From recycled − from the target base, both after these steps."""
    against_whole: tuple[Estimate, ...]
    """From recycled after these steps − from the target base after all of them."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How many steps either start needs for the score that the target base ends with."""

    goal: float
    """That score: of the directly fine-tuned model, after all steps."""
    direct: float
    """Steps after which the target base has it first, between two measured lengths in a straight line."""
    recycled: float | None
    """Likewise the recycled model; None where it never has it."""

    @property
    def saved(self) -> float:
        """Steps, negative where the recycled model needs more; 0 where it never gets there."""
        return 0.0 if self.recycled is None else self.direct - self.recycled

    @property
    def share(self) -> float:
        """Of the target base's."""
        return self.saved / self.direct if self.direct else 0.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything the report shows."""

    title: str
    suite: str
    harness: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """By steps, the fewest first: those of no training, and those of all of the recipe's."""
    saving: Saving
    """Of the mean score."""
    gate: GateDecision


def figures(measured: Sequence[Measured], *, title: str, tolerance: float) -> Figures:
    """Pair what was measured, and judge the recycled model that was fine-tuned over all steps.

    Args:
        measured: at least without training and after all steps, in any order.
        title: the report's heading.
        tolerance: how far below the directly fine-tuned model the other may score, in score units.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    measured = sorted(measured, key=lambda one: one.steps)
    first, last = measured[0], measured[-1]
    columns = columns_of(last.recycled)
    rows = tuple(_row(one, last.target_base, columns) for one in measured)
    return Figures(
        title=title,
        suite=last.recycled.suite,
        harness=last.recycled.harness,
        columns=columns,
        rows=rows,
        saving=saving(
            [(row.steps, row.recycled[0].value) for row in rows],
            [(row.steps, row.target_base[0].value) for row in rows],
        ),
        gate=decide(
            against_base=difference(last.recycled, first.target_base).mean,
            against_rival=rows[-1].lead[0],
            tolerance=tolerance,
            candidate="recycled and then fine-tuned model",
            rival="directly fine-tuned model",
        ),
    )


def saving(recycled: Sequence[tuple[int, float]], direct: Sequence[tuple[int, float]]) -> Saving:
    """When either start first has the score that the direct one ends with.

    Args:
        recycled: steps and score, by steps.
        direct: likewise, from the target base.
    """
    goal = direct[-1][1]
    return Saving(goal=goal, direct=_first(direct, goal) or 0.0, recycled=_first(recycled, goal))


def _first(reached: Sequence[tuple[int, float]], goal: float) -> float | None:
    for index, (steps, score) in enumerate(reached):
        if score >= goal - EQUAL:
            return _crossing(reached[index - 1], (steps, score), goal) if index else float(steps)
    return None


def _crossing(before: tuple[int, float], after: tuple[int, float], goal: float) -> float:
    (steps, score), (more, higher) = before, after
    return steps + (more - steps) * min(1.0, (goal - score) / (higher - score))


def _row(one: Measured, whole: Evaluation, columns: tuple[Column, ...]) -> Row:
    return Row(
        steps=one.steps,
        recycled=cells(scores(one.recycled), columns),
        target_base=cells(scores(one.target_base), columns),
        lead=cells(difference(one.recycled, one.target_base), columns),
        against_whole=cells(difference(one.recycled, whole), columns),
    )
