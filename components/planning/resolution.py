"""The first step of a run: its request completed and checked, its checkpoints looked at, the plan written."""

from pathlib import Path
from typing import NamedTuple

from components.planning.lengths import Training, trainings
from components.planning.preview import preview_bases, preview_transfer
from components.planning.request import LONGEST_CHAIN, BasesRequest, TransferRequest
from components.planning.scale_points import quick_suite, search_points
from components.planning.scratch import check_scratch
from components.tracking import Step


class ResolvedTransfer(NamedTuple):
    """What the steps after it take."""

    source_base: str
    """Reference, pinned, as of the other two."""
    source_tuned: str
    target_base: str
    suite: str
    recipe: str
    notes: list[str]
    """For the report."""
    points: list[dict[str, str]]
    """Of the search of λ."""
    quick_suite: str
    recycled_trainings: list[Training]
    """The trainings from the recycled model that are shorter than the recipe's."""
    target_trainings: list[Training]
    model_name: str
    """The registered model."""


class ResolvedBases(NamedTuple):
    """What the steps after it take."""

    bases: list[dict[str, str]]
    pairs: list[dict[str, str]]
    labels: list[str]
    suite: str
    recipe: str
    model_name: str
    """The registered model."""
    Output: int
    """How many bases; a condition of KFP's local runner sees only an output of this name."""
    base_1: str
    """Reference, pinned; empty for a base that there is not."""
    base_2: str
    base_3: str
    base_4: str
    base_5: str


def resolve_transfer(request: TransferRequest, run: Step, plan: Path) -> ResolvedTransfer:
    """Complete and check every parameter, look at the checkpoints, and write the plan.

    Args:
        request: the parameters as they were set.
        run: the step.
        plan: file for the page.

    Raises:
        RecycleError: a value cannot be, a name leads nowhere, or the checkpoints do not fit.
    """
    request = request.complete()
    request.check()
    found = preview_transfer(request)
    check_scratch(found.scratch_needed)
    facts = {**found.facts(), "transfer": request.transfer, "suite": request.suite, "recipe": request.recipe}
    _publish(found.markdown(), facts, run, plan)
    models = {role: facts[role] for role in ("source base", "source fine-tuned", "target base")}
    moved = f"a fine-tune of {_code(found.source_base)}" if found.tuned_is_planned else _code(found.source_tuned)
    run.tracker.describe_pipeline(
        f"Moves {moved} onto {_code(found.target_base)} without training, with λ = {request.scale}, and judges the "
        f"result on {_code(request.suite)}.",
        {**models, "scale": request.scale, "dtype": facts["dtype"], "suite": request.suite},
    )
    run.tracker.pipeline_metrics({"sampled relative gap": found.gap, "forecast": found.forecast.number})
    run.tracker.tags({"forecast": str(found.forecast), "forecast reason": found.forecast.reason})
    run.outcome.update(gap=round(found.gap, 3), warning=found.forecast.warning, notes=found.notes)
    return ResolvedTransfer(
        source_base=found.source_base,
        source_tuned=found.source_tuned,
        target_base=found.target_base,
        suite=request.suite,
        recipe=request.recipe,
        notes=list(found.notes),
        points=search_points(request.scale_search, request.scale),
        quick_suite=quick_suite(request.suite),
        recycled_trainings=trainings("recycled", request.lengths) if request.continues else [],
        target_trainings=trainings("target base", request.lengths) if request.continues else [],
        model_name=request.model_name,
    )


def resolve_bases(request: BasesRequest, run: Step, plan: Path) -> ResolvedBases:
    """Complete and check every parameter, look at the bases, and write the plan.

    Args:
        request: the parameters as they were set.
        run: the step.
        plan: file for the page.

    Raises:
        RecycleError: a value cannot be, a name leads nowhere, or two bases do not fit.
    """
    request = request.complete()
    request.check()
    found = preview_bases(request)
    check_scratch(found.scratch_needed)
    facts = {"bases": ", ".join(found.references), "suite": request.suite, "recipe": request.recipe}
    _publish(found.markdown(), {**facts, "scale": str(request.scale), "dtype": request.dtype}, run, plan)
    run.tracker.describe_pipeline(
        f"Fine-tunes {', '.join(map(_code, found.references))} and moves the fine-tunes between them, with λ = "
        f"{request.scale}, judged on {_code(request.suite)}.",
        {"bases": facts["bases"], "scale": request.scale, "dtype": request.dtype, "suite": request.suite},
    )
    run.outcome.update(notes=list(found.warnings))
    first = [*found.references, *([""] * LONGEST_CHAIN)][:LONGEST_CHAIN]
    return ResolvedBases(
        found.items,
        found.pairs,
        list(request.labels),
        request.suite,
        request.recipe,
        request.model_name,
        len(found.items),
        *first,
    )


def _code(text: str) -> str:
    """As a code span, in which Markdown shows every sign of a name."""
    return f"`{text}`"


def _publish(page: str, facts: dict[str, str], run: Step, plan: Path) -> None:
    run.tracker.params(facts)
    run.tracker.text(page, "plan.md")
    plan.write_text(page, encoding="utf-8")
