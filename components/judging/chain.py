"""What each release along a chain scores: bare, with the change of the release before, and fine-tuned from there."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from components.judging.columns import Cells, Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.gate import GateDecision, decide_gate
from components.judging.paired import difference, scores


class ChainStage(BaseModel):
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
    stages: tuple[ChainStage, ...]


@dataclass(frozen=True, kw_only=True)
class StageEvaluations:
    """The evaluations of one stage, the second or a later one."""

    label: str
    base: Evaluation
    transferred: Evaluation
    tuned: Evaluation
    direct: Evaluation | None
    tuned_before: Evaluation
    """Of the fine-tuned model of the release before."""


def begin_chain(label: str, base: Evaluation, tuned: Evaluation) -> Chain:
    """The chain of the first release alone."""
    columns = columns_of(tuned)
    first = ChainStage(label=label, base=cells(scores(base), columns), tuned=cells(scores(tuned), columns))
    return Chain(suite=tuned.suite, harness=tuned.harness, columns=columns, stages=(first,))


def extend_chain(chain: Chain, evaluations: StageEvaluations) -> Chain:
    """The chain with one more release.

    Raises:
        BadParameter: two models did not answer the same questions.
    """
    columns, direct = chain.columns, evaluations.direct
    stage = ChainStage(
        label=evaluations.label,
        base=cells(scores(evaluations.base), columns),
        transferred=cells(scores(evaluations.transferred), columns),
        tuned=cells(scores(evaluations.tuned), columns),
        direct=cells(scores(direct), columns) if direct else None,
        gained=cells(difference(evaluations.tuned, evaluations.transferred), columns),
        over_direct=cells(difference(evaluations.tuned, direct), columns) if direct else None,
    )
    return chain.model_copy(update={"stages": (*chain.stages, stage)})


def judge_stage(evaluations: StageEvaluations, tolerance: float) -> GateDecision:
    """Whether the newest model may take the place of the one before.

    Args:
        evaluations: of the newest stage.
        tolerance: how far below the model before it may score, in score units.
    """
    return decide_gate(
        against_base=difference(evaluations.tuned, evaluations.base).mean,
        against_rival=difference(evaluations.tuned, evaluations.tuned_before).mean,
        tolerance=tolerance,
        candidate="newest model of the chain",
        rival="model of the release before",
    )
