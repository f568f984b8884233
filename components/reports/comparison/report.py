"""The report: one self-contained HTML page, and the same content as Markdown."""

from dataclasses import dataclass

from markupsafe import Markup

from components.reports.comparison import plots, templates
from components.reports.comparison.examples import Example, choose
from components.reports.comparison.inputs import Model, ReportInput, Role
from components.reports.comparison.layers import by_layer
from components.reports.comparison.line import loss_panel
from components.reports.comparison.published import PublishedRow, published_rows
from components.reports.comparison.remarks import remarks, whole_model
from components.reports.comparison.table import Column, ScoreTable, as_text, score_table
from components.transfer import TensorStatistics

__all__ = ["Model", "ReportInput", "Role", "render_html", "render_markdown", "table_text"]


@dataclass(frozen=True, kw_only=True)
class _View:
    """What both templates read."""

    report: ReportInput
    table: ScoreTable
    published: tuple[PublishedRow, ...]
    examples: tuple[Example, ...]
    remarks: tuple[str, ...]
    layers: tuple[TensorStatistics, ...]
    whole: TensorStatistics


def render_html(report: ReportInput) -> str:
    """One page that asks for nothing outside itself and runs no script.

    Raises:
        BadParameter: a needed model is missing, or the models did not answer the same questions.
    """
    view = _view(report)
    template = templates.html().get_template("report.html.j2")
    return template.render(
        view=view,
        score_panels=_score_panels(view.table),
        layer_panels=_layer_panels(view.layers),
        loss_panel=loss_panel(report.forecast.line) if report.forecast and report.forecast.line else None,
    )


def render_markdown(report: ReportInput) -> str:
    """The same content, with tables for plots and long replies cut.

    Raises:
        BadParameter: a needed model is missing, or the models did not answer the same questions.
    """
    return templates.markdown().get_template("report.md.j2").render(view=_view(report))


def table_text(report: ReportInput) -> str:
    """The score table for a terminal.

    Raises:
        BadParameter: a needed model is missing, or the models did not answer the same questions.
    """
    return as_text(score_table(report.models))


def _view(report: ReportInput) -> _View:
    table = score_table(report.models)
    return _View(
        report=report,
        table=table,
        published=published_rows(table, report.models),
        examples=choose(report.models),
        remarks=remarks(report),
        layers=by_layer(report.statistics),
        whole=whole_model(report),
    )


def _score_panels(table: ScoreTable) -> list[tuple[Column, Markup]]:
    return [
        (column, plots.score_panel(column.name, [(row.role, row.cells[index]) for row in table.scores]))
        for index, column in enumerate(table.columns)
    ]


def _layer_panels(layers: tuple[TensorStatistics, ...]) -> list[tuple[str, str, Markup]]:
    """Caption, formula and plot of each figure."""
    if not layers:
        return []
    update = [layer.relative_delta for layer in layers]
    gap = [layer.relative_gap for layer in layers]
    cosine = [layer.cosine for layer in layers]
    names = [layer.name for layer in layers]
    return [
        (caption, formula, plots.layer_panel(caption, names, values, as_percent=as_percent))
        for caption, formula, values, as_percent in (
            ("Size of the update", "‖Δ‖ / ‖source base‖", update, True),
            ("Distance between the bases", "‖target base − source base‖ / ‖source base‖", gap, True),
            ("Cosine of the two", "of Δ and target base − source base", cosine, False),
        )
    ]
