from typing import List, NamedTuple  # noqa: UP035 - the form that KFP reads

from kfp.dsl import HTML, Artifact, Input, Markdown, Model, Output

from components.steps.component import component


@component
def chart_lengths(
    recycled_evaluation: Input[Artifact],
    target_base_evaluation: Input[Artifact],
    recycled_tuned: Input[Model],
    recycled_tuned_evaluation: Input[Artifact],
    target_tuned_evaluation: Input[Artifact],
    recycled_shorter: Input[List[Artifact]],  # noqa: UP006
    target_shorter: Input[List[Artifact]],  # noqa: UP006
    recycled_trainings: list,  # type: ignore[type-arg] # the form that KFP reads
    target_trainings: list,  # type: ignore[type-arg]
    gate_tolerance: float,
    report: Output[HTML],
    summary: Output[Markdown],
) -> NamedTuple("Verdict", [("passed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Show what is reached after how many training steps from either start, and judge the recycled one."""
    from components.judging import compare_lengths, pair_by_steps
    from components.reports import curves, publish_report, report_on_saved_steps
    from components.steps.artifacts import by_role, read_checkpoint, read_evaluation
    from components.tracking import step

    with step("chart the training steps") as run:
        trained = []
        for start, shorter, trainings, full in (
            (recycled_evaluation, recycled_shorter, recycled_trainings, recycled_tuned_evaluation),
            (target_base_evaluation, target_shorter, target_trainings, target_tuned_evaluation),
        ):
            made = by_role(shorter)
            between = {float(training["share"]): made[training["label"]] for training in trainings}
            shares = {0.0: start, **between, 1.0: full}
            trained.append({share: read_evaluation(artifact) for share, artifact in shares.items()})
        recycled, target_base = trained
        pairs = pair_by_steps(recycled, target_base, steps=int(float(recycled_tuned.metadata["steps"])))
        found = compare_lengths(pairs, tolerance=gate_tolerance)
        page = report_on_saved_steps(found, title=f"Recycled, then fine-tuned: {read_checkpoint(recycled_tuned).name}")
        publish_report(page, run, html=report.path, summary=summary.path)
        for steps, scores in curves(found):
            run.tracker.metrics(scores, steps)
        return found.gate.passed, found.gate.reason
