"""What each release along a chain scores: bare, with the change of the release before, and fine-tuned from there."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from components.judging.columns import Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.gate import GateDecision, decide
from components.judging.paired import Estimate, difference, scores

Cells = tuple[Estimate, ...]
"""One by column."""


class Stage(BaseModel):
    """One release; what was not made for it is None."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: str
    base: Cells
    transferred: Cells | None = None
    """With the weight change of the release before, and no training."""
    tuned: Cells
    """Fine-tuned from there; the first release from itself."""
    direct: Cells | None = None
    """Fine-tuned from the bare release."""
    gained: Cells | None = None
    """Tuned − transferred."""
    over_direct: Cells | None = None
    """Tuned − direct."""


class Chain(BaseModel):
    """The stages so far, oldest first: what one chart hands on to the next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    harness: str
    columns: tuple[Column, ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The evaluations of one stage, the second or a later one."""

    label: str
    base: Evaluation
    transferred: Evaluation
    tuned: Evaluation
    direct: Evaluation | None
    tuned_before: Evaluation
    """Of the fine-tuned model of the release before."""


def begun(label: str, base: Evaluation, tuned: Evaluation) -> Chain:
    """The chain of the first release alone."""
    columns = columns_of(tuned)
    first = Stage(label=label, base=cells(scores(base), columns), tuned=cells(scores(tuned), columns))
    return Chain(suite=tuned.suite, harness=tuned.harness, columns=columns, stages=(first,))


def extended(chain: Chain, measured: Measured) -> Chain:
    """The chain with one more release.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    columns, direct = chain.columns, measured.direct
    stage = Stage(
        label=measured.label,
        base=cells(scores(measured.base), columns),
        transferred=cells(scores(measured.transferred), columns),
        tuned=cells(scores(measured.tuned), columns),
        direct=cells(scores(direct), columns) if direct else None,
        gained=cells(difference(measured.tuned, measured.transferred), columns),
        over_direct=cells(difference(measured.tuned, direct), columns) if direct else None,
    )
    return chain.model_copy(update={"stages": (*chain.stages, stage)})


def judged(measured: Measured, tolerance: float) -> GateDecision:
    """Whether the newest model may take the place of the one before.

    Args:
        measured: the newest stage.
        tolerance: how far below the model before it may score, in score units.
    """
    return decide(
        against_base=difference(measured.tuned, measured.base).mean,
        against_rival=difference(measured.tuned, measured.tuned_before).mean,
        tolerance=tolerance,
        candidate="newest model of the chain",
        rival="model of the release before",
    )
