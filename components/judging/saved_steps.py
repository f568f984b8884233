"""What is reached after how many training steps, from the recycled model and from the target base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.judging.columns import Cells, Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.gate import GateDecision, decide_gate
from components.judging.paired import difference, scores

EQUAL = 1e-9
"""Scores that are equal but for their last bits count as reached."""


@dataclass(frozen=True, kw_only=True)
class AfterSteps:
    """Both models after one number of steps."""

    steps: int
    recycled: Evaluation
    target_base: Evaluation


@dataclass(frozen=True, kw_only=True)
class ScoresAfterSteps:
    """Scores and differences of both models after one number of steps, each by column."""

    steps: int
    recycled: Cells
    target_base: Cells
    lead: Cells
    """From recycled − from the target base, both after these steps."""
    against_full: Cells
    """From recycled after these steps − from the target base after all of them."""


@dataclass(frozen=True, kw_only=True)
class SavedSteps:
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
        """The saved steps as a share of those that the target base needs."""
        return self.saved / self.direct if self.direct else 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingLengths:
    """Everything the report shows."""

    suite: str
    harness: str
    columns: tuple[Column, ...]
    rows: tuple[ScoresAfterSteps, ...]
    """By steps, the fewest first: those of no training, and those of all of the recipe's."""
    saving: SavedSteps
    """Of the mean score."""
    gate: GateDecision


def pair_by_steps(
    recycled: Mapping[float, Evaluation], target_base: Mapping[float, Evaluation], steps: int
) -> list[AfterSteps]:
    """Pair the evaluations of models that were trained over the same share of the steps.

    Args:
        recycled: by share of the steps, from 0 (the recycled model itself) to 1.
        target_base: likewise from the target base.
        steps: all steps of the recipe; each share of them is at least one, except 0.
    """
    return [
        AfterSteps(
            steps=max(1, round(share * steps)) if share else 0,
            recycled=recycled[share],
            target_base=target_base[share],
        )
        for share in recycled
    ]


def compare_lengths(measured: Sequence[AfterSteps], *, tolerance: float) -> TrainingLengths:
    """Compare both models after each number of steps, and judge the recycled model that was fine-tuned over all steps.

    Args:
        measured: at least without training and after all steps, in any order.
        tolerance: how far below the directly fine-tuned model the other may score, in score units.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    measured = sorted(measured, key=lambda one: one.steps)
    first, last = measured[0], measured[-1]
    columns = columns_of(last.recycled)
    rows = tuple(_row(one, last.target_base, columns) for one in measured)
    return TrainingLengths(
        suite=last.recycled.suite,
        harness=last.recycled.harness,
        columns=columns,
        rows=rows,
        saving=saved_steps(
            [(row.steps, row.recycled[0].value) for row in rows],
            [(row.steps, row.target_base[0].value) for row in rows],
        ),
        gate=decide_gate(
            against_base=difference(last.recycled, first.target_base).mean,
            against_rival=rows[-1].lead[0],
            tolerance=tolerance,
            candidate="recycled and then fine-tuned model",
            rival="directly fine-tuned model",
        ),
    )


def saved_steps(recycled: Sequence[tuple[int, float]], direct: Sequence[tuple[int, float]]) -> SavedSteps:
    """When either start first has the score that the direct one ends with.

    Args:
        recycled: steps and score, by steps.
        direct: likewise, from the target base.
    """
    goal = direct[-1][1]
    return SavedSteps(goal=goal, direct=_first(direct, goal) or 0.0, recycled=_first(recycled, goal))


def _first(reached: Sequence[tuple[int, float]], goal: float) -> float | None:
    for index, (steps, score) in enumerate(reached):
        if score >= goal - EQUAL:
            return _crossing(reached[index - 1], (steps, score), goal) if index else float(steps)
    return None


def _crossing(before: tuple[int, float], after: tuple[int, float], goal: float) -> float:
    (steps, score), (more, higher) = before, after
    return steps + (more - steps) * min(1.0, (goal - score) / (higher - score))


def _row(one: AfterSteps, full: Evaluation, columns: tuple[Column, ...]) -> ScoresAfterSteps:
    return ScoresAfterSteps(
        steps=one.steps,
        recycled=cells(scores(one.recycled), columns),
        target_base=cells(scores(one.target_base), columns),
        lead=cells(difference(one.recycled, one.target_base), columns),
        against_full=cells(difference(one.recycled, full), columns),
    )
