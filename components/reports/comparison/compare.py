"""The step in one call: pair, judge, report."""

from dataclasses import dataclass

from components.errors import BadParameter
from components.forecast import Forecast, forecast_by_statistics
from components.judging import DEFAULT_TOLERANCE, Evaluation, GateDecision, decide, difference
from components.reports.comparison.inputs import Model, ReportInput, model_of
from components.reports.comparison.report import render_html, render_markdown
from components.reports.comparison.table import ScoreTable, as_text, score_table
from components.transfer import TensorStatistics


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The decision, and the same findings in every form someone reads them in."""

    gate: GateDecision
    html: str
    markdown: str
    text: str
    """The score table for a terminal."""
    metrics: dict[str, float]
    """Finite, in score units: each model's mean score, and the recycled model's lead over each with its interval."""


def compare(
    *,
    title: str,
    models: tuple[Model, ...],
    statistics: tuple[TensorStatistics, ...],
    scale: str,
    dtype: str,
    load_path: str,
    forecast: Forecast | None = None,
    notes: tuple[str, ...] = (),
    tolerance: float = DEFAULT_TOLERANCE,
    first: Evaluation | None = None,
) -> Comparison:
    """Judge the recycled model against the others and write the report.

    Args:
        title: the report's heading.
        models: target base, recycled, source fine-tuned and, if there is one, target fine-tuned; rows keep this order.
        statistics: of the transfer pass, one entry a tensor; may be empty.
        scale: λ.
        dtype: the dtype policy.
        load_path: what `from_pretrained` takes to load the recycled model.
        forecast: what was expected before the evaluation; None for what the statistics say.
        notes: what planning found worth saying.
        tolerance: how far below the source fine-tuned model the recycled one may score, in score units.
        first: the evaluation of the model at the scale that was set, where the recycled one has another.

    Raises:
        BadParameter: a needed model is missing, the models did not answer the same questions, or the tolerance is
            outside [0, 1].
    """
    if not 0 <= tolerance <= 1:
        raise BadParameter(f"the tolerance is {tolerance}", hint="give a share of the score from 0 to 1, such as 0.02")
    table = score_table(models)
    gate = decide(
        against_base=table.lead("target base"),
        against_rival=table.lead("source fine-tuned"),
        tolerance=tolerance,
        against_first=difference(model_of(models, "recycled").evaluation, first).mean if first else None,
    )
    report = ReportInput(
        title=title,
        models=models,
        statistics=statistics,
        forecast=forecast or (forecast_by_statistics(statistics, None) if statistics else None),
        scale=scale,
        dtype=dtype,
        gate=gate,
        notes=notes,
        load_path=load_path,
    )
    return Comparison(
        gate=gate,
        html=render_html(report),
        markdown=render_markdown(report),
        text=as_text(table),
        metrics=_metrics(table),
    )


def _metrics(table: ScoreTable) -> dict[str, float]:
    metrics = {f"score_{_key(row.role)}": row.mean.value for row in table.scores}
    for row in table.differences:
        name = f"recycled_minus_{_key(row.role)}"
        metrics |= {name: row.mean.value, f"{name}_low": row.mean.low, f"{name}_high": row.mean.high}
    return metrics


def _key(role: str) -> str:
    return role.replace(" ", "_").replace("-", "_")
