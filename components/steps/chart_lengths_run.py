"""The step between its artifacts and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.judging.saved_steps import Measured, figures
from components.reports.saved_steps import curves, metrics, render_html, render_markdown, table_text
from components.steps.artifacts import ModelArtifact, by_role, read_checkpoint, read_evaluation
from components.tracking import Step


@dataclass(frozen=True, kw_only=True)
class Start:
    """What was made from one start."""

    start: ModelArtifact
    """Evaluation without training."""
    whole: ModelArtifact
    """Evaluation after all steps."""
    shorter: Sequence[ModelArtifact]
    """Evaluations in between."""
    trainings: Sequence[Mapping[str, object]]
    """The label and share of each of those."""

    def by_share(self) -> dict[float, ModelArtifact]:
        """The evaluations by the share of the steps after which they were made."""
        found = by_role(self.shorter)
        return {
            0.0: self.start,
            **{float(str(one["share"])): found[str(one["label"])] for one in self.trainings},
            1.0: self.whole,
        }


def chart_lengths_into(
    recycled: Start,
    target_base: Start,
    tuned: ModelArtifact,
    tolerance: float,
    report: str,
    summary: str,
    run: Step,
) -> tuple[bool, str]:
    """Write both forms of the report.

    Args:
        recycled: what was made from the recycled model.
        target_base: what was made from the target base.
        tuned: the recycled model after all steps, which knows how many those are.
        tolerance: see `figures`.
        report: path of the HTML.
        summary: path of the Markdown.
        run: the running step.

    Returns:
        Whether the gate passes, and why.
    """
    whole = int(float(str(tuned.metadata["steps"])))
    ours, theirs = recycled.by_share(), target_base.by_share()
    measured = [
        Measured(
            steps=max(1, round(share * whole)) if share else 0,
            recycled=read_evaluation(ours[share]),
            target_base=read_evaluation(theirs[share]),
        )
        for share in ours
    ]
    title = f"Recycled, then fine-tuned: {read_checkpoint(tuned).name}"
    found = figures(measured, title=title, tolerance=tolerance)
    html, markdown = render_html(found), render_markdown(found)
    Path(report).write_text(html, encoding="utf-8")
    Path(summary).write_text(markdown, encoding="utf-8")
    run.tracker.text(html, "report.html")
    run.tracker.text(markdown, "report.md")
    run.tracker.pipeline_metrics(metrics(found))
    for steps, scores in curves(found):
        run.tracker.metrics(scores, steps)
    run.tracker.tags({"gate": "passed" if found.gate.passed else "failed", "gate reason": found.gate.reason})
    run.outcome.update(
        table=table_text(found),
        passed=found.gate.passed,
        reason=found.gate.reason,
        report=report,
        metrics=metrics(found),
    )
    return found.gate.passed, found.gate.reason
