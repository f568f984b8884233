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
    from components.judging import GridEvaluations, build_grid
    from components.reports import publish_report, report_on_grid
    from components.steps.artifacts import by_role, read_document, read_evaluation
    from components.tracking import step
    from components.transfer import Statistics, total

    with step("chart the grid") as run:
        of_bases, of_tuned = by_role(bare), by_role(own)
        evaluations, measured = by_role(moved), by_role(statistics)
        labels = {(pair["source"], pair["target"]): pair["label"] for pair in pairs}
        tensors = {pair: read_document(measured[label], Statistics).tensors for pair, label in labels.items()}
        grid = build_grid(
            GridEvaluations(
                labels=tuple(base["label"] for base in bases),
                bare={base["label"]: read_evaluation(of_bases[base["label"]]) for base in bases},
                own={base["label"]: read_evaluation(of_tuned[base["tuned"]]) for base in bases},
                moved={pair: read_evaluation(evaluations[label]) for pair, label in labels.items()},
                distances={pair: total("model", found).relative_gap for pair, found in tensors.items()},
            )
        )
        publish_report(report_on_grid(grid), run, html=report.path, summary=summary.path)
        run.tracker.end_pipeline()
