"""What the transfer pass measures, tensor by tensor, while the bytes go by."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # not when it runs: reports read statistics, and need no numpy for it
    import numpy as np
    from numpy.typing import NDArray


class TensorStatistics(BaseModel):
    """Sums over one tensor, in float64, from values after the dtype policy's cast.

    Sums and not norms, so that tensors can be added up into layers and models exactly. An element where any of
    the three inputs is NaN or infinite is counted in `nonfinite` and left out of every sum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    elements: int
    delta_squared: float
    """Σ Δ², Δ = FT(M_s) − M_s, before the scale."""
    gap_squared: float
    """Σ (M_t − M_s)²."""
    source_squared: float
    """Σ M_s²."""
    delta_dot_gap: float
    """Σ Δ·(M_t − M_s)."""
    max_abs_delta: float
    unchanged: int
    """Elements where FT(M_s) equals M_s."""
    nonfinite: int
    overflowed: int = 0
    """Elements of the result that are NaN or infinite although all three inputs are finite."""

    @property
    def delta_norm(self) -> float:
        """‖Δ‖."""
        return math.sqrt(self.delta_squared)

    @property
    def gap_norm(self) -> float:
        """‖M_t − M_s‖."""
        return math.sqrt(self.gap_squared)

    @property
    def relative_delta(self) -> float:
        """‖Δ‖ / ‖M_s‖, 0 for a source of zeros."""
        return math.sqrt(self.delta_squared / self.source_squared) if self.source_squared else 0.0

    @property
    def relative_gap(self) -> float:
        """‖M_t − M_s‖ / ‖M_s‖, 0 for a source of zeros. Two unrelated models of one kind have about √2."""
        return math.sqrt(self.gap_squared / self.source_squared) if self.source_squared else 0.0

    @property
    def cosine(self) -> float:
        """Cosine of Δ and M_t − M_s, 0 where either is zero."""
        norms = self.delta_norm * self.gap_norm
        return self.delta_dot_gap / norms if norms else 0.0


def add_up(
    name: str, elements: int, sums: "Sequence[NDArray[np.float64]]", counts: "Sequence[NDArray[np.int64]]"
) -> TensorStatistics:
    """Make one tensor's statistics of those of its units.

    Args:
        name: the tensor's.
        elements: how many of its elements were computed.
        sums: rows as `kernel.SUMS` describes them, in any order: they are added exactly and rounded once.
        counts: rows as `kernel.COUNTS` describes them.
    """
    delta, gap, source, dot = (
        math.fsum(chain.from_iterable(part[:, column].tolist() for part in sums)) for column in range(4)
    )
    unchanged, nonfinite, overflowed = (sum(int(part[:, column].sum()) for part in counts) for column in range(3))
    return TensorStatistics(
        name=name,
        elements=elements,
        delta_squared=delta,
        gap_squared=gap,
        source_squared=source,
        delta_dot_gap=dot,
        max_abs_delta=max((float(part[:, 4].max(initial=0.0)) for part in sums), default=0.0),
        unchanged=unchanged,
        nonfinite=nonfinite,
        overflowed=overflowed,
    )


def total(name: str, parts: Iterable[TensorStatistics]) -> TensorStatistics:
    """Add tensors up into one entry called `name`."""
    parts = tuple(parts)
    return TensorStatistics(
        name=name,
        elements=sum(part.elements for part in parts),
        delta_squared=math.fsum(part.delta_squared for part in parts),
        gap_squared=math.fsum(part.gap_squared for part in parts),
        source_squared=math.fsum(part.source_squared for part in parts),
        delta_dot_gap=math.fsum(part.delta_dot_gap for part in parts),
        max_abs_delta=max((part.max_abs_delta for part in parts), default=0.0),
        unchanged=sum(part.unchanged for part in parts),
        nonfinite=sum(part.nonfinite for part in parts),
        overflowed=sum(part.overflowed for part in parts),
    )


class Statistics(BaseModel):
    """The statistics of a whole transfer, tensor by tensor in the result's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensors: tuple[TensorStatistics, ...]

    @property
    def nonfinite(self) -> int:
        """Elements of the result that are NaN or infinite, because an input is or by themselves."""
        return sum(tensor.nonfinite + tensor.overflowed for tensor in self.tensors)

    def summary(self) -> dict[str, float]:
        """The whole model's figures."""
        model = total("model", self.tensors)
        return {
            "relative delta": model.relative_delta,
            "relative gap": model.relative_gap,
            "cosine of delta and gap": model.cosine,
            "unchanged share": model.unchanged / model.elements if model.elements else 1.0,
            "largest delta": model.max_abs_delta,
            "nonfinite elements": float(model.nonfinite),
            "overflowed elements": float(model.overflowed),
        }
