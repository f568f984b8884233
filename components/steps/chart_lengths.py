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
    from components.steps.chart_lengths_run import Start, chart_lengths_into
    from components.tracking import step

    recycled = Start(
        start=recycled_evaluation,
        whole=recycled_tuned_evaluation,
        shorter=recycled_shorter,
        trainings=recycled_trainings,
    )
    direct = Start(
        start=target_base_evaluation,
        whole=target_tuned_evaluation,
        shorter=target_shorter,
        trainings=target_trainings,
    )
    with step("chart the training steps") as run:
        return chart_lengths_into(recycled, direct, recycled_tuned, gate_tolerance, report.path, summary.path, run)
