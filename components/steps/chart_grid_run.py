"""The step between its artifacts and the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.judging.grid import Measured, figures
from components.reports.grid import metrics, render_html, render_markdown, table_text
from components.steps.artifacts import ModelArtifact, by_role, read_evaluation
from components.tracking import Step
from components.transfer import Statistics, total


def chart_grid_into(
    bases: Sequence[Mapping[str, str]],
    pairs: Sequence[Mapping[str, str]],
    bare: Sequence[ModelArtifact],
    own: Sequence[ModelArtifact],
    moved: Sequence[ModelArtifact],
    statistics: Sequence[ModelArtifact],
    report: str,
    summary: str,
    run: Step,
) -> None:
    """Write both forms of the report.

    Args:
        bases: label of each base and of its fine-tune, in order.
        pairs: source, target and label of each transfer.
        bare: evaluations of the bases, each with its label as role.
        own: evaluations of their fine-tunes, likewise.
        moved: evaluations of the transfers, each with its label as role.
        statistics: of the transfers, likewise.
        report: path of the HTML.
        summary: path of the Markdown.
        run: the running step.
    """
    of_bases, of_tuned = by_role(bare), by_role(own)
    evaluations, measured = by_role(moved), by_role(statistics)
    found = figures(
        Measured(
            labels=tuple(base["label"] for base in bases),
            bare={base["label"]: read_evaluation(of_bases[base["label"]]) for base in bases},
            own={base["label"]: read_evaluation(of_tuned[base["tuned"]]) for base in bases},
            moved={(one["source"], one["target"]): read_evaluation(evaluations[one["label"]]) for one in pairs},
            distances={(one["source"], one["target"]): _distance(measured[one["label"]]) for one in pairs},
        )
    )
    html, markdown = render_html(found), render_markdown(found)
    Path(report).write_text(html, encoding="utf-8")
    Path(summary).write_text(markdown, encoding="utf-8")
    run.tracker.text(html, "report.html")
    run.tracker.text(markdown, "report.md")
    run.tracker.pipeline_metrics(metrics(found))
    run.tracker.end_pipeline()
    run.outcome.update(table=table_text(found), report=report, metrics=metrics(found))


def _distance(artifact: ModelArtifact) -> float:
    measured = Statistics.model_validate_json(Path(artifact.path).read_bytes())
    return total("model", measured.tensors).relative_gap
