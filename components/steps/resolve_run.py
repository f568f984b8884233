"""The resolve step between its parameters and its artifact."""

from pathlib import Path

from components.finetune import check_has_steps
from components.planning import Choice, check_scratch, check_values, complete, quick_suite, resolve, search_points
from components.tracking import Step


def resolve_into(
    plan_path: str,
    run: Step,
    *,
    transfer: str,
    source_base: str,
    source_tuned: str,
    target_base: str,
    scale: str,
    dtype: str,
    suite: str,
    recipe: str,
    finetunes: bool,
    gate_tolerance: float,
    model_name: str,
    scale_search: str = "",
    continues: bool = False,
) -> tuple[str, str, str, str, str, str, str, str, list[str], list[dict[str, str]], str]:
    """Complete and check every parameter, look at the checkpoints, and write the plan.

    Returns:
        The three references, pinned, and what state their files are in; the suite, the recipe, and the notes for the
        report; the points of the scale search, and the suite for them.
    """
    given = Choice(
        source_base=source_base, source_tuned=source_tuned, target_base=target_base, suite=suite, recipe=recipe
    )
    chosen = complete(given, transfer, finetunes=finetunes, continues=continues)
    check_values(
        scale=scale,
        dtype=dtype,
        suite=chosen.suite,
        recipe=chosen.recipe,
        gate_tolerance=gate_tolerance,
        model_name=model_name,
    )
    if continues:
        check_has_steps(chosen.recipe)
    found = resolve(
        source_base=chosen.source_base,
        source_tuned=chosen.source_tuned,
        target_base=chosen.target_base,
        scale=scale,
        dtype=dtype,
        continues=continues,
    )
    check_scratch(found.scratch_needed)
    run.tracker.params({**found.facts(), "transfer": transfer, "suite": chosen.suite, "recipe": chosen.recipe})
    run.tracker.text(found.markdown(), "plan.md")
    run.tracker.pipeline_metrics({"sampled relative gap": found.gap, "forecast": found.forecast.number})
    run.tracker.tags({"forecast": str(found.forecast), "forecast reason": found.forecast.reason})
    run.outcome.update(gap=round(found.gap, 3), warning=found.forecast.warning, notes=found.notes)
    Path(plan_path).write_text(found.markdown(), encoding="utf-8")
    notes = list(found.notes)
    references = (found.source_base, found.source_tuned, found.target_base)
    points = search_points(scale_search, found.scale)
    return *references, *found.states, chosen.suite, chosen.recipe, notes, points, quick_suite(chosen.suite)
