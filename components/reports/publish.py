"""A finished report, and where it goes: KFP's artifacts, MLflow, and the outcome of the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.judging import GateDecision
from components.system import escape_markdown, text_table
from components.tracking import Step


@dataclass(frozen=True, kw_only=True)
class Report:
    """One set of findings, in every form someone reads them in."""

    title: str
    html: str
    rows: Sequence[Sequence[str]]
    """The main table; the first row is its head, an empty row sets parts apart."""
    gate: GateDecision | None = None
    notes: Sequence[str] = ()
    """Sentences that belong to the figures, in every form."""
    remarks: Sequence[str] = ()
    """What a reader should know before relying on the figures; the terminal's form leaves it out."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What pipeline runs are compared by: finite, in score units."""

    @property
    def text(self) -> str:
        """The table and the notes for a terminal."""
        aligned = text_table(self.rows, right=tuple(range(1, len(self.rows[0]))))
        return "\n".join([aligned, *self.notes]) + "\n"

    @property
    def markdown(self) -> str:
        """A summary: the decision, the notes and the table."""
        lines = [f"# {escape_markdown(self.title)}", ""]
        if self.gate:
            lines += [f"**{'Passed' if self.gate.passed else 'Failed'}.** {escape_markdown(self.gate.reason)}", ""]
            lines += [f"- {'✓' if check.passed else '✗'} {escape_markdown(check.name)}" for check in self.gate.checks]
            lines.append("")
        for note in (*self.remarks, *self.notes):
            lines += [escape_markdown(note), ""]
        head, *rest = (_markdown_row(row) for row in self.rows if any(row))
        lines += [head, _markdown_row(["---", *["---:"] * (len(self.rows[0]) - 1)]), *rest, ""]
        return "\n".join([*lines, "Plots and details are in the HTML report.", ""])


def publish_report(
    report: Report, run: Step, *, html: str, summary: str, name: str = "report", suffix: str = ""
) -> None:
    """Write a report to files and to MLflow, and add what it found to the step's outcome.

    Args:
        report: what was found.
        run: the running step.
        html: path of KFP's HTML artifact.
        summary: path of KFP's Markdown artifact.
        name: of the pages in MLflow, without their endings.
        suffix: what tells these findings from the main ones of the pipeline run, for metrics and tags; empty for
            those.
    """
    publish_pages(report, run, html=html, summary=summary, name=name)
    run.tracker.pipeline_metrics({f"{metric}{suffix}": value for metric, value in report.metrics.items()})
    found: dict[str, object] = {"table": report.text, "report": html, "metrics": dict(report.metrics)}
    if report.gate:
        gate = "passed" if report.gate.passed else "failed"
        run.tracker.tags({f"gate{suffix}": gate, f"gate reason{suffix}": report.gate.reason})
        found |= {"passed": report.gate.passed, "reason": report.gate.reason}
    run.outcome.update({f"comparison{suffix}": found} if suffix else found)


def publish_pages(report: Report, run: Step, *, html: str, summary: str, name: str) -> None:
    """Write only the two pages of a report, to files and to MLflow."""
    for path, page, ending in ((html, report.html, "html"), (summary, report.markdown, "md")):
        Path(path).write_text(page, encoding="utf-8")
        run.tracker.text(page, f"{name}.{ending}")


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape_markdown(cell, starts_line=False) for cell in cells)} |"
