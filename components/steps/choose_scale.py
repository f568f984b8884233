from typing import List, NamedTuple  # noqa: UP035 - the form that KFP reads

from kfp.dsl import HTML, Artifact, Input, Markdown, Model, Output

from components.steps.component import component


@component
def choose_scale(
    recycled: Input[Model],
    statistics: Input[Artifact],
    evaluation: Input[Artifact],
    others: Input[List[Model]],  # noqa: UP006
    other_statistics: Input[List[Artifact]],  # noqa: UP006
    other_evaluations: Input[List[Artifact]],  # noqa: UP006
    notes: list,  # type: ignore[type-arg] # the form that KFP reads
    chosen: Output[Model],
    chosen_statistics: Output[Artifact],
    curve: Output[HTML],
    summary: Output[Markdown],
) -> NamedTuple(  # type: ignore[valid-type]
    "Chosen",
    [
        ("Output", bool),  # kfp.local (2.17.0) sees a condition on a task's output only where it has this name
        ("notes", list),
    ],
):
    """Draw the score over λ, and keep the λ that was set unless another is clearly better."""
    from components.steps.choose_scale_run import choose_artifact
    from components.tracking import step

    with step("choose the scale") as run:
        return choose_artifact(
            [recycled, *others],
            [statistics, *other_statistics],
            [evaluation, *other_evaluations],
            notes,
            chosen,
            chosen_statistics.path,
            curve.path,
            summary.path,
            run,
        )
