"""Where a report goes."""

from types import SimpleNamespace

import pytest

from components.judging.gate import GateCheck, GateDecision
from components.reports.publish import Report, publish_report

GATE = GateDecision(
    passed=False, reason="It is worse.", checks=(GateCheck(name="Better", passed=False, finding="is worse"),)
)


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.pages, self.metrics, self.tagged = {}, {}, {}

    def text(self, content, path):
        self.pages[path] = content

    def pipeline_metrics(self, values):
        self.metrics |= values

    def tags(self, values):
        self.tagged |= values


@pytest.fixture
def published(tmp_path):
    def publish(*, suffix="", gate=GATE):
        run = SimpleNamespace(tracker=Recorder(), outcome={})
        report = Report(
            title="A & B",
            html="<p>",
            rows=(("Score, %", "mean"), ("", ""), ("a|b", "+1.0")),
            gate=gate,
            remarks=("Take care.",),
            notes=("So it is.",),
            metrics={"score": 0.5},
        )
        html, summary = str(tmp_path / "page.html"), str(tmp_path / "summary.md")
        publish_report(report, run, html=html, summary=summary, suffix=suffix)
        return run, html, (tmp_path / "summary.md").read_text()

    return publish


def test_the_findings_are_in_the_outcome_and_in_mlflow(published):
    run, html, summary = published()
    assert run.tracker.pages == {"report.html": "<p>", "report.md": summary}
    assert run.tracker.metrics == {"score": 0.5}
    assert run.tracker.tagged == {"gate": "failed", "gate reason": "It is worse."}
    assert {key: run.outcome[key] for key in ("passed", "reason", "report")} == {
        "passed": False,
        "reason": "It is worse.",
        "report": html,
    }
    assert run.outcome["table"] == "Score, %  mean\n\na|b       +1.0\nSo it is.\n"


def test_findings_beside_the_main_ones_have_names_of_their_own(published):
    run, _, _ = published(suffix=" at the chosen scale")
    assert run.tracker.metrics == {"score at the chosen scale": 0.5}
    assert set(run.tracker.tagged) == {"gate at the chosen scale", "gate reason at the chosen scale"}
    assert set(run.outcome) == {"comparison at the chosen scale"}


def test_without_a_gate_nothing_is_said_of_one(published):
    run, _, summary = published(gate=None)
    assert run.tracker.tagged == {}
    assert "passed" not in run.outcome
    assert "Passed" not in summary


def test_the_summary_has_the_decision_the_remarks_and_the_table(published):
    _, _, summary = published()
    assert summary.splitlines() == [
        "# A &amp; B",
        "",
        "**Failed.** It is worse.",
        "",
        "- ✗ Better",
        "",
        "Take care.",
        "",
        "So it is.",
        "",
        "| Score, % | mean |",
        "| --- | ---: |",
        "| a\\|b | +1.0 |",
        "",
        "Plots and details are in the HTML report.",
    ]
