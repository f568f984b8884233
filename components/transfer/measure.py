"""Per-tensor statistics of a transfer, added up from the sums of its units."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.transfer.statistics import TensorStatistics


def add_up(
    name: str, elements: int, sums: Sequence[NDArray[np.float64]], counts: Sequence[NDArray[np.int64]]
) -> TensorStatistics:
    """One tensor's statistics.

    Args:
        name: the tensor's.
        elements: how many it has.
        sums: rows as `kernel.SUMS` describes them, in any order: they are added exactly and rounded once.
        counts: rows as `kernel.COUNTS` describes them.
    """
    rows = np.concatenate(sums) if sums else np.zeros((0, 5))
    delta, gap, source, dot = (math.fsum(rows[:, column]) for column in range(4))
    unchanged, nonfinite, overflowed = (int(sum(part[:, column].sum() for part in counts)) for column in range(3))
    return TensorStatistics(
        name=name,
        elements=elements,
        delta_squared=delta,
        gap_squared=gap,
        source_squared=source,
        delta_dot_gap=dot,
        max_abs_delta=float(rows[:, 4].max(initial=0.0)),
        unchanged=unchanged,
        nonfinite=nonfinite,
        overflowed=overflowed,
    )
