"""The step between its artifacts and the report."""

from pathlib import Path

from components.judging.chain import Chain, Measured, begun, extended, judged
from components.reports.chain import metrics, render_html, render_markdown, table_text
from components.steps.artifacts import ModelArtifact, read_evaluation
from components.tracking import Step


def chain_before(chain: ModelArtifact | None, label: str, base: ModelArtifact, tuned: ModelArtifact) -> Chain:
    """The chain so far: as the chart before handed it on, or of the first release alone.

    Args:
        chain: what the chart before wrote, if there was one.
        label: of the release before.
        base: evaluation of the release before.
        tuned: evaluation of the model that was fine-tuned from it.
    """
    if chain is not None:
        return Chain.model_validate_json(Path(chain.path).read_bytes())
    return begun(label, read_evaluation(base), read_evaluation(tuned))


def chart_chain_into(
    before: Chain, measured: Measured, tolerance: float, chain: str, report: str, summary: str, run: Step
) -> tuple[bool, str]:
    """Write the longer chain, and both forms of the report on it.

    Returns:
        Whether the newest model passes the gate, and why.
    """
    longer, gate = extended(before, measured), judged(measured, tolerance)
    html, markdown = render_html(longer, gate), render_markdown(longer, gate)
    Path(chain).write_text(longer.model_dump_json(), encoding="utf-8")
    Path(report).write_text(html, encoding="utf-8")
    Path(summary).write_text(markdown, encoding="utf-8")
    name = "report with the direct fine-tune" if measured.direct else "report"
    run.tracker.text(html, f"{name}.html")
    run.tracker.text(markdown, f"{name}.md")
    run.tracker.pipeline_metrics(metrics(longer))
    run.tracker.tags({"gate": "passed" if gate.passed else "failed", "gate reason": gate.reason})
    run.outcome.update(
        table=table_text(longer), passed=gate.passed, reason=gate.reason, report=report, metrics=metrics(longer)
    )
    return gate.passed, gate.reason
