"""Will it transfer? A number, a verdict and its reason, from figures that are there before any evaluation.

A transfer is expected to hold where the two bases are linearly connected: where the loss along the straight line
between their weights has no barrier (arXiv 2503.20110). The limits below are those of the demo world; larger models
may have others.
"""

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.forecast.belonging import Belonging
from components.transfer import TensorStatistics, total

Verdict = Literal["likely", "unsure", "unlikely"]
ORDER: tuple[Verdict, ...] = ("likely", "unsure", "unlikely")

NEAR = 0.3
"""‖M_t − M_s‖ / ‖M_s‖ of the matrices, within which transfer worked in the demo world; one 0.45 away kept 3/4."""
UNRELATED = 0.7
"""Half of what independent models of one kind have, which is about √2."""
APART = 1.2
"""So close to √2 that a line without a barrier says no more: a release trained at a high rate had that, and 1.37."""
CONNECTED = 0.9
"""Connectivity from which transfer worked in the demo world."""
SEPARATE = 0.5
"""Connectivity up to which it did not: half of what the bases know of text is lost between them."""
LEAST_KNOWN = 0.1
"""Nats per token that the bases must know of their text: a mean over a thousand tokens is uncertain by half of it."""


class ConnectivityLine(BaseModel):
    """The loss along the straight line between two bases."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shares: tuple[float, ...]
    """α of each point (1−α)·M_s + α·M_t, from 0 to 1, ascending."""
    losses: tuple[float, ...]
    """Mean cross-entropy at each point, nats per token, of text that the two bases made."""
    vocabulary: int = Field(ge=2)
    tokens: int
    """That the losses are means over."""

    @property
    def barrier(self) -> float:
        """How far the loss rises above the straight line between its ends, nats per token; 0 where it never does.

        The error barrier of Frankle et al. (arXiv 1912.05671), taken from the line between the two ends' losses as
        Entezari et al. (arXiv 2110.06296) do, so that one end's being the better model is no barrier.
        """
        first, last = self.losses[0], self.losses[-1]
        rises = (
            loss - ((1 - share) * first + share * last) for share, loss in zip(self.shares, self.losses, strict=True)
        )
        return max(0.0, *rises)

    @property
    def connectivity(self) -> float | None:
        """The share of what the bases know of the text that is not lost on the line between them, 0 to 1.

        1 − barrier / (ln V − mean loss of the ends): ln V is the loss of a model that knows nothing of V tokens. None
        where the ends themselves know next to nothing.
        """
        known = math.log(self.vocabulary) - (self.losses[0] + self.losses[-1]) / 2
        return min(1.0, max(0.0, 1 - self.barrier / known)) if known >= LEAST_KNOWN else None


class Forecast(BaseModel):
    """What is to be expected of a transfer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    verdict: Verdict
    measure: Literal["connectivity", "closeness"]
    """What `number` is: the connectivity of the bases where it was measured, else 1 − relative gap / √2."""
    number: float = Field(ge=0, le=1)
    """1 for equal bases, 0 for unrelated ones."""
    reason: str
    line: ConnectivityLine | None = None

    @property
    def warning(self) -> str:
        """The reason, where it speaks against the transfer; else empty."""
        return "" if self.verdict == "likely" else self.reason

    def metrics(self) -> dict[str, float]:
        """Its figures."""
        barrier = {"barrier": self.line.barrier} if self.line else {}
        return {"forecast": self.number, **barrier}

    def __str__(self) -> str:
        """For one line: `likely (connectivity 0.98)`."""
        return f"{self.verdict} ({self.measure} {self.number:.2f})"


def forecast_by_gap(gap: float, against: Iterable[str] = ()) -> Forecast:
    """What the distance of the bases says by itself.

    Args:
        gap: ‖M_t − M_s‖ / ‖M_s‖.
        against: what else speaks against the transfer (see `components.forecast.belonging`), in sentences.
    """
    return _forecast(gap, [_by_gap(gap), *(("unlikely", sentence) for sentence in against)])


def forecast_by_statistics(
    tensors: Iterable[TensorStatistics], line: ConnectivityLine | None, why_not_measured: str = ""
) -> Forecast:
    """What the statistics of a transfer say, together with the line between the bases.

    Args:
        tensors: of the transfer.
        line: None where it was not measured.
        why_not_measured: for people.
    """
    tensors = tuple(tensors)
    gap = total("matrices", filter(_is_matrix, tensors)).relative_gap
    connectivity = line.connectivity if line else None
    connected = connectivity is not None and connectivity >= CONNECTED
    findings = [_by_gap(gap, connected=connected), *_by_update(tensors)]
    if line and connectivity is None:
        why_not_measured = "the bases know hardly more of their own text than chance does"
    if line and connectivity is not None:
        findings.append(_by_line(line.barrier, connectivity))
    made = _forecast(gap, findings)
    if why_not_measured:
        more = f" The loss along the line between the bases was not measured: {why_not_measured}."
        made = made.model_copy(update={"reason": made.reason + more})
    if connectivity is not None:
        made = made.model_copy(update={"measure": "connectivity", "number": connectivity})
    return made.model_copy(update={"line": line})


def _is_matrix(tensor: TensorStatistics) -> bool:
    """Norms start at 1 in every model and hardly move: in small models they would hide how far the rest has moved."""
    return "norm" not in tensor.name and not tensor.name.endswith(".bias")


def _forecast(gap: float, findings: list[tuple[Verdict, str]]) -> Forecast:
    """The worst verdict, with the reasons of those that give it."""
    verdict = max((verdict for verdict, _ in findings), key=ORDER.index)
    reasons = [reason for found, reason in findings if found == verdict and reason]
    return Forecast(
        verdict=verdict,
        measure="closeness",
        number=min(1.0, max(0.0, 1 - gap / math.sqrt(2))),
        reason=" ".join(reasons),
    )


def _by_gap(gap: float, *, connected: bool = False) -> tuple[Verdict, str]:
    """What the gap says; between bases that are known to be connected, a large one does not make them strangers."""
    if gap == 0:
        return (
            "unsure",
            "No difference was found between the two bases: check that the target is a newer release.",
        )
    if gap >= (APART if connected else UNRELATED):
        return "unlikely", (
            f"The two bases look unrelated: their relative gap ‖M_t − M_s‖/‖M_s‖ is {gap:.2f}, and models trained "
            "apart have about 1.41. A diff vector does not carry over between unrelated models."
        )
    if gap >= NEAR:
        return "unsure", (
            f"The two bases are far apart: their relative gap ‖M_t − M_s‖/‖M_s‖ is {gap:.2f}. Transfer may fail."
        )
    return "likely", f"The two bases are close: their relative gap ‖M_t − M_s‖/‖M_s‖ is {gap:.2f}."


def _by_update(tensors: tuple[TensorStatistics, ...]) -> list[tuple[Verdict, str]]:
    """What the three models' distances say, over all of their weights."""
    if not any(tensor.delta_squared for tensor in tensors):
        return [("unlikely", "The source fine-tuned model equals its base: the transfer added nothing.")]
    model = total("matrices", filter(_is_matrix, tensors))
    # ‖FT − M_t‖² = ‖Δ − (M_t − M_s)‖²
    to_target = math.sqrt(max(0.0, model.delta_squared + model.gap_squared - 2 * model.delta_dot_gap))
    norm = math.sqrt(model.source_squared) or 1.0
    broken = [tensor.name for tensor in tensors if tensor.nonfinite]
    found = Belonging(
        update=model.delta_norm / norm,
        to_target=to_target / norm,
        gap=model.gap_norm / norm,
        nonfinite={"three checkpoints": (broken[0], sum(tensor.nonfinite for tensor in tensors))} if broken else {},
    )
    return [("unlikely", sentence) for sentence in found.findings()] or [("likely", "")]


def _by_line(barrier: float, connectivity: float) -> tuple[Verdict, str]:
    found = f"{barrier:.2f} nats a token on the straight line between the bases (connectivity {connectivity:.2f})"
    if connectivity >= CONNECTED:
        return "likely", f"The loss rises by at most {found}: they are linearly connected."
    if connectivity > SEPARATE:
        return "unsure", f"The loss rises by {found}: they are only partly connected, and transfer may fail."
    return "unlikely", f"The loss rises by {found}: they are not linearly connected."
