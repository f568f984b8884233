"""What each base's weight change does on each other base."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.judging.columns import Cells, Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.paired import difference, scores

LEAST_GAIN = 0.01
"""In score units: where a base gains less from its own fine-tune, there is nothing to keep a share of."""
FEWEST = 3
"""Pairs without which no correlation is told."""

Pair = tuple[str, str]
"""Source and target."""


@dataclass(frozen=True, kw_only=True)
class GridEvaluations:
    """The evaluations of a whole grid."""

    labels: tuple[str, ...]
    bare: Mapping[str, Evaluation]
    """Of each base."""
    own: Mapping[str, Evaluation]
    """Of each base's own fine-tune."""
    moved: Mapping[Pair, Evaluation]
    """Of each base with the weight change of another."""
    distances: Mapping[Pair, float]
    """‖M_t − M_s‖ / ‖M_s‖, as the transfer measured it."""


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """One transfer; its figures are by column."""

    source: str
    target: str
    distance: float
    score: Cells
    over_bare: Cells
    """This − the bare target."""
    against_own: Cells
    """This − the target's own fine-tune."""
    kept: tuple[float | None, ...]
    """Share of what the target gains from its own fine-tune; None where that is next to nothing."""


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation:
    """Whether transfers between near bases keep more."""

    correlation: float | None
    """Spearman's, of distance and kept share; None for too few pairs, or ones that are all alike."""
    pairs: int


@dataclass(frozen=True, kw_only=True)
class GridScores:
    """Everything the report shows."""

    suite: str
    harness: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    bare: Mapping[str, Cells]
    own: Mapping[str, Cells]
    cells: Mapping[Pair, GridCell]
    """By source and target, in the order of the labels."""

    def nearness(self, column: int) -> DistanceCorrelation:
        """The correlation for one column."""
        found = [(cell.distance, kept) for cell in self.cells.values() if (kept := cell.kept[column]) is not None]
        return DistanceCorrelation(correlation=spearman(found), pairs=len(found))

    def mean_kept(self, column: int) -> float | None:
        """The mean of the kept shares, over the transfers that have one; None where none has."""
        found = [kept for cell in self.cells.values() if (kept := cell.kept[column]) is not None]
        return sum(found) / len(found) if found else None


def build_grid(evaluations: GridEvaluations) -> GridScores:
    """Compare every transfer of the grid with its target, bare and fine-tuned.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    first = evaluations.bare[evaluations.labels[0]]
    columns = columns_of(first)
    return GridScores(
        suite=first.suite,
        harness=first.harness,
        labels=evaluations.labels,
        columns=columns,
        bare={label: cells(scores(evaluations.bare[label]), columns) for label in evaluations.labels},
        own={label: cells(scores(evaluations.own[label]), columns) for label in evaluations.labels},
        cells={pair: _cell(pair, evaluations, columns) for pair in _pairs(evaluations)},
    )


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation; equal values share the mean of their ranks.

    Returns:
        None for fewer than three pairs, or where one side is all alike.
    """
    if len(pairs) < FEWEST:
        return None
    first, second = (_centred_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    spread = sum(a * a for a in first) * sum(b * b for b in second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / spread**0.5 if spread else None


def _centred_ranks(values: Sequence[float]) -> list[float]:
    ranks = [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
    return [rank - (len(values) + 1) / 2 for rank in ranks]


def _pairs(evaluations: GridEvaluations) -> Iterator[Pair]:
    for source in evaluations.labels:
        for target in evaluations.labels:
            if source != target:
                yield source, target


def _cell(pair: Pair, evaluations: GridEvaluations, columns: tuple[Column, ...]) -> GridCell:
    source, target = pair
    moved, bare, own = evaluations.moved[pair], evaluations.bare[target], evaluations.own[target]
    gained = cells(difference(moved, bare), columns)
    possible = cells(difference(own, bare), columns)
    return GridCell(
        source=source,
        target=target,
        distance=evaluations.distances[pair],
        score=cells(scores(moved), columns),
        over_bare=gained,
        against_own=cells(difference(moved, own), columns),
        kept=tuple(
            ours.value / theirs.value if theirs.value >= LEAST_GAIN else None
            for ours, theirs in zip(gained, possible, strict=True)
        ),
    )
