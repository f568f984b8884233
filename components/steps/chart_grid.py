from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import HTML, Artifact, Input, Markdown, Output

from components.steps.component import component


@component
def chart_grid(
    bases: list,  # type: ignore[type-arg] # the form that KFP reads
    pairs: list,  # type: ignore[type-arg]
    bare: Input[List[Artifact]],  # noqa: UP006
    own: Input[List[Artifact]],  # noqa: UP006
    moved: Input[List[Artifact]],  # noqa: UP006
    statistics: Input[List[Artifact]],  # noqa: UP006
    report: Output[HTML],
    summary: Output[Markdown],
) -> None:
    """Show what every base's weight change does on every base: a heat map, and what nearness has to do with it."""
    from components.steps.chart_grid_run import chart_grid_into
    from components.tracking import step

    with step("chart the grid") as run:
        chart_grid_into(bases, pairs, bare, own, moved, statistics, report.path, summary.path, run)
