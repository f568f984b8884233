"""What each base's weight change does on each other base."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.judging.columns import Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.paired import Estimate, difference, scores

LEAST_GAIN = 0.01
"""In score units: where a base gains less from its own fine-tune, there is nothing to keep a share of."""
FEWEST = 3
"""Pairs without which no correlation is told."""

Pair = tuple[str, str]
"""Source and target."""


@dataclass(frozen=True, kw_only=True)
class Measured:
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
class Cell:
    """One transfer, each by column."""

    source: str
    target: str
    distance: float
    score: tuple[Estimate, ...]
    over_bare: tuple[Estimate, ...]
    """This − the bare target."""
    against_own: tuple[Estimate, ...]
    """This − the target's own fine-tune."""
    kept: tuple[float | None, ...]
    """Share of what the target gains from its own fine-tune; None where that is next to nothing."""


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Whether transfers between near bases keep more."""

    correlation: float | None
    """Spearman's, of distance and kept share; None for too few pairs, or ones that are all alike."""
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything the report shows."""

    suite: str
    harness: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    bare: Mapping[str, tuple[Estimate, ...]]
    own: Mapping[str, tuple[Estimate, ...]]
    cells: Mapping[Pair, Cell]
    """By source and target, in the order of the labels."""

    def nearness(self, column: int) -> Nearness:
        """For one column."""
        found = [(cell.distance, kept) for cell in self.cells.values() if (kept := cell.kept[column]) is not None]
        return Nearness(correlation=spearman(found), pairs=len(found))

    def mean_kept(self, column: int) -> float | None:
        """Over the transfers that have one."""
        found = [kept for cell in self.cells.values() if (kept := cell.kept[column]) is not None]
        return sum(found) / len(found) if found else None


def figures(measured: Measured) -> Figures:
    """Pair what was measured.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    first = measured.bare[measured.labels[0]]
    columns = columns_of(first)
    return Figures(
        suite=first.suite,
        harness=first.harness,
        labels=measured.labels,
        columns=columns,
        bare={label: cells(scores(measured.bare[label]), columns) for label in measured.labels},
        own={label: cells(scores(measured.own[label]), columns) for label in measured.labels},
        cells={pair: _cell(pair, measured, columns) for pair in _pairs(measured)},
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


def _pairs(measured: Measured) -> Iterator[Pair]:
    for source in measured.labels:
        for target in measured.labels:
            if source != target:
                yield source, target


def _cell(pair: Pair, measured: Measured, columns: tuple[Column, ...]) -> Cell:
    source, target = pair
    moved, bare, own = measured.moved[pair], measured.bare[target], measured.own[target]
    gained = cells(difference(moved, bare), columns)
    whole = cells(difference(own, bare), columns)
    return Cell(
        source=source,
        target=target,
        distance=measured.distances[pair],
        score=cells(scores(moved), columns),
        over_bare=gained,
        against_own=cells(difference(moved, own), columns),
        kept=tuple(
            ours.value / theirs.value if theirs.value >= LEAST_GAIN else None
            for ours, theirs in zip(gained, whole, strict=True)
        ),
    )
