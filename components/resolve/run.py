"""The resolve step between its parameters and its artifact."""

from pathlib import Path

from components.resolve.resolve import check_values, resolve
from components.step import Step


def resolve_into(
    plan_path: str,
    run: Step,
    *,
    source_base: str,
    source_tuned: str,
    target_base: str,
    scale: str,
    dtype: str,
    suite: str,
    recipe: str,
    gate_tolerance: float,
    model_name: str,
) -> tuple[str, str, str, list[str]]:
    """Check every parameter, look at the checkpoints, and write the plan.

    Returns:
        The three references, pinned, and the notes for the report.
    """
    check_values(
        scale=scale, dtype=dtype, suite=suite, recipe=recipe, gate_tolerance=gate_tolerance, model_name=model_name
    )
    found = resolve(
        source_base=source_base, source_tuned=source_tuned, target_base=target_base, scale=scale, dtype=dtype
    )
    run.tracker.params({**found.facts(), "suite": suite, "recipe": recipe})
    run.tracker.text(found.markdown(), "plan.md")
    run.tracker.pipeline_metrics({"sampled relative gap": found.gap})
    run.outcome.update(gap=round(found.gap, 3), warning=found.warning, notes=found.notes)
    Path(plan_path).write_text(found.markdown(), encoding="utf-8")
    return found.source_base, found.source_tuned, found.target_base, list(found.notes)
