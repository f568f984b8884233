from typing import NamedTuple, Optional

from kfp.dsl import HTML, Artifact, Input, Markdown, Model, Output

from components.steps.component import component


@component
def compare(
    source_base: Input[Model],
    target_base: Input[Model],
    recycled: Input[Model],
    source_tuned: Input[Model],
    target_base_evaluation: Input[Artifact],
    recycled_evaluation: Input[Artifact],
    source_tuned_evaluation: Input[Artifact],
    statistics: Input[Artifact],
    forecast: Input[Artifact],
    notes: list,  # type: ignore[type-arg] # the form that KFP reads
    gate_tolerance: float,
    report: Output[HTML],
    summary: Output[Markdown],
    target_tuned: Optional[Input[Model]] = None,  # noqa: UP045 - the form that KFP reads
    target_tuned_evaluation: Optional[Input[Artifact]] = None,  # noqa: UP045
    first_evaluation: Optional[Input[Artifact]] = None,  # noqa: UP045
) -> NamedTuple("Verdict", [("passed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Hold the recycled model against the others, decide whether it passes, and write the report."""
    from components.steps.compare_run import compare_artifacts
    from components.tracking import step

    models = {
        "target base": (target_base, target_base_evaluation),
        "recycled": (recycled, recycled_evaluation),
        "source fine-tuned": (source_tuned, source_tuned_evaluation),
        "target fine-tuned": (target_tuned, target_tuned_evaluation),
    }
    given = {role: pair for role, pair in models.items() if None not in pair}
    more = " with the fine-tuned target" if len(given) == len(models) else ""
    more = " at the chosen scale" if first_evaluation else more
    first = first_evaluation.path if first_evaluation else ""
    with step(f"compare{more}") as run:
        paths = (statistics.path, forecast.path, first, report.path, summary.path)
        return compare_artifacts(given, source_base, more, notes, gate_tolerance, *paths, run)
