from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Markdown, Metrics, Model, Output

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
    verdict: Output[Metrics],
    target_tuned: Input[Model] = None,  # with Optional, KFP fails where it is given
    target_tuned_evaluation: Input[Artifact] = None,
    first_evaluation: Input[Artifact] = None,
) -> NamedTuple("Verdict", [("passed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Hold the recycled model against the others, decide whether it passes, and write the report."""
    from components.checkpoints import derivation_of
    from components.forecast import Forecast
    from components.judging import Role, compare_models
    from components.reports import RecycledFacts, compared_models, publish_report, report_on_comparison
    from components.steps.artifacts import log_metrics, read_checkpoint, read_document, read_evaluation
    from components.store import open_checkpoint
    from components.tracking import step
    from components.transfer import Statistics

    models = {Role.TARGET_BASE: target_base, Role.RECYCLED: recycled, Role.SOURCE_TUNED: source_tuned}
    models |= {Role.TARGET_TUNED: target_tuned} if target_tuned else {}
    more = " with the fine-tuned target" if target_tuned else " at the chosen scale" if first_evaluation else ""
    with step(f"compare{more}") as run:
        manifests = {role: read_checkpoint(model) for role, model in models.items()}
        evaluations = {
            Role.TARGET_BASE: read_evaluation(target_base_evaluation),
            Role.RECYCLED: read_evaluation(recycled_evaluation),
            Role.SOURCE_TUNED: read_evaluation(source_tuned_evaluation),
            **({Role.TARGET_TUNED: read_evaluation(target_tuned_evaluation)} if target_tuned else {}),
        }
        first = read_evaluation(first_evaluation) if first_evaluation else None
        measured = read_document(statistics, Statistics)
        found = compare_models(evaluations, tolerance=gate_tolerance, first=first, nonfinite=measured.nonfinite)
        settings = derivation_of(manifests[Role.RECYCLED]).settings
        page = report_on_comparison(
            found,
            compared_models(evaluations, {**manifests, Role.SOURCE_BASE: read_checkpoint(source_base)}),
            RecycledFacts(
                scale=settings["scale"],
                dtype=settings["dtype"],
                statistics=measured.tensors,
                forecast=read_document(forecast, Forecast),
                notes=tuple(notes),
                load_path=open_checkpoint(manifests[Role.RECYCLED]).reference,
            ),
            title=f"Recycled: {manifests[Role.SOURCE_TUNED].name} onto {manifests[Role.TARGET_BASE].name}",
        )
        # Another λ is another model, whose figures stand beside those of the main line.
        suffix = more if first else ""
        publish_report(page, run, html=report.path, summary=summary.path, name=f"report{more}", suffix=suffix)
        log_metrics(verdict, found.verdict())
        return found.gate.passed, found.gate.reason
