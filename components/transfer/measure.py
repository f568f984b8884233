"""Per-tensor statistics of a transfer, added up chunk by chunk."""

import math

import numpy as np

from components.arithmetic import Floats
from components.statistics import TensorStatistics


class Meter:
    """Adds up one tensor's statistics.

    Each chunk's sums are numpy's pairwise sums and chunks are added exactly, so the result depends on the chunk size
    alone, which is fixed, and not on threads or machines.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._sums: list[tuple[float, ...]] = []
        self._elements = self._unchanged = self._nonfinite = self._overflowed = 0
        self._max_abs_delta = 0.0

    @property
    def is_unchanged(self) -> bool:
        """Whether the fine-tune left every element so far as it was."""
        return self._unchanged == self._elements

    def add(self, target: Floats, tuned: Floats, source: Floats, result: Floats) -> None:
        """Count one chunk of the three inputs and, as it is stored, the result."""
        self._elements += target.size
        same = (tuned == source) | (np.isnan(tuned) & np.isnan(source))
        self._unchanged += int(np.count_nonzero(same))
        finite = np.isfinite(target) & np.isfinite(tuned) & np.isfinite(source)
        self._overflowed += int(np.count_nonzero(finite & ~np.isfinite(result)))
        lost = target.size - int(np.count_nonzero(finite))
        if lost:
            self._nonfinite += lost
            target, tuned, source = target[finite], tuned[finite], source[finite]
        delta, gap = tuned - source, target - source
        products = (delta * delta, gap * gap, source * source, delta * gap)
        self._sums.append(tuple(float(product.sum()) for product in products))
        if delta.size:
            self._max_abs_delta = max(self._max_abs_delta, float(np.abs(delta).max()))

    def result(self) -> TensorStatistics:
        """The tensor's statistics."""
        columns = zip(*self._sums, strict=True) if self._sums else [()] * 4
        delta, gap, source, dot = (math.fsum(column) for column in columns)
        return TensorStatistics(
            name=self._name,
            elements=self._elements,
            delta_squared=delta,
            gap_squared=gap,
            source_squared=source,
            delta_dot_gap=dot,
            max_abs_delta=self._max_abs_delta,
            unchanged=self._unchanged,
            nonfinite=self._nonfinite,
            overflowed=self._overflowed,
        )
