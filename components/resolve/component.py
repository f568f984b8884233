from typing import NamedTuple

from kfp.dsl import Markdown, Output

from components.image import component


@component
def resolve(
    source_base: str,
    source_tuned: str,
    target_base: str,
    scale: str,
    dtype: str,
    suite: str,
    recipe: str,
    gate_tolerance: float,
    plan: Output[Markdown],
) -> NamedTuple("Resolved", [("source_base", str), ("source_tuned", str), ("target_base", str), ("notes", list)]):  # type: ignore[valid-type]
    """Pin the three names, prove the checkpoints compatible and estimate the cost, before anything big moves."""
    from pathlib import Path

    from components.resolve.resolve import check_values
    from components.resolve.resolve import resolve as look
    from components.step import step

    with step("resolve") as run:
        check_values(scale=scale, dtype=dtype, suite=suite, recipe=recipe, gate_tolerance=gate_tolerance)
        found = look(
            source_base=source_base, source_tuned=source_tuned, target_base=target_base, scale=scale, dtype=dtype
        )
        run.tracker.params({**found.facts(), "suite": suite, "recipe": recipe})
        run.tracker.text(found.markdown(), "plan.md")
        run.tracker.pipeline_metrics({"sampled relative gap": found.gap})
        run.outcome.update(gap=round(found.gap, 3), warning=found.warning, notes=found.notes)
        Path(plan.path).write_text(found.markdown(), encoding="utf-8")
    return (found.source_base, found.source_tuned, found.target_base, list(found.notes))
