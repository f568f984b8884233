"""What a report is made from."""

from dataclasses import dataclass
from typing import Literal, get_args

from components.errors import BadParameter
from components.forecast import Forecast
from components.judging import Evaluation, GateDecision
from components.transfer import TensorStatistics

Role = Literal["target base", "recycled", "source fine-tuned", "target fine-tuned"]

ROLES: tuple[Role, ...] = get_args(Role)
OPTIONAL: Role = "target fine-tuned"

MEANING: dict[Role, str] = {
    "target base": "new base, before recycling",
    "recycled": "new base + Δ, no training",
    "source fine-tuned": "fine-tune of the old base",
    "target fine-tuned": "new base, fine-tuned in full",
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of the comparison."""

    role: Role
    evaluation: Evaluation
    lineage: tuple[tuple[str, str], ...]
    """Label and value, for example `("digest", "…")`, `("from", "hub org/name@commit")`, `("stored at", "file:///…")`."""
    known_as: str = ""
    """Full name of the release that it is, or of the published transfer whose result it is; empty for neither."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """Everything a report shows."""

    title: str
    models: tuple[Model, ...]
    """In the order of the report's rows."""
    statistics: tuple[TensorStatistics, ...]
    """One entry a tensor, in the checkpoint's order; none when the transfer did not measure."""
    forecast: Forecast | None
    """What was expected before the evaluation; None where nothing was measured."""
    scale: str
    """λ, as the user wrote it."""
    dtype: str
    """The dtype policy: `bfloat16` or `stored`."""
    gate: GateDecision
    notes: tuple[str, ...]
    """What planning found worth saying about the three checkpoints."""
    load_path: str
    """What `from_pretrained` and vLLM take: a folder, or a hub repository."""


def model_of(models: tuple[Model, ...], role: Role) -> Model:
    """The model with this role.

    Raises:
        BadParameter: there is none.
    """
    for model in models:
        if model.role == role:
            return model
    raise BadParameter(
        f"no {role} model was evaluated",
        hint="evaluate the target base, the recycled and the source fine-tuned model on the same suite",
    )


def check_roles(models: tuple[Model, ...]) -> None:
    """Check that every needed role is there and none twice.

    Raises:
        BadParameter: one is missing or comes twice.
    """
    for role in ROLES:
        if role != OPTIONAL:
            model_of(models, role)
        if sum(model.role == role for model in models) > 1:
            raise BadParameter(f"two models are given as the {role}", hint="give one model for each role")
