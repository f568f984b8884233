"""The steps that chart several models, on artifacts as KFP hands them over."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.checkpoints.manifest import content_digest
from components.judging.chain import Chain
from components.steps.artifacts import write_checkpoint
from components.steps.chart_chain import chart_chain
from components.steps.chart_grid import chart_grid
from components.steps.chart_lengths import chart_lengths
from components.transfer.statistics import Statistics
from tests.reports.comparison.conftest import build_statistics
from tests.support.evaluations import build_evaluation
from tests.tracking.test_model_card import checkpoint


@pytest.fixture
def artifact(tmp_path):
    def make(name, content=None, **metadata):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        return SimpleNamespace(path=str(path), metadata=metadata)

    return make


@pytest.fixture
def right(artifact):
    """The evaluation of a model with so many right answers of eight."""

    def make(name, count, **metadata):
        evaluation = build_evaluation({"facts": [1.0] * count + [0.0] * (8 - count)})
        return artifact(name, evaluation.model_dump_json(), **metadata)

    return make


def test_a_chain_goes_on_from_the_chart_before(artifact, right, capsys):
    before = {
        "base_before": right("base 1", 0),
        "tuned_before": right("tuned 1", 6),
        "labels": ["release-1", "release-2", "release-3"],
        "gate_tolerance": 0.02,
    }
    stage = {"base": right("base", 0), "transferred": right("transferred", 4), "tuned": right("tuned", 8)}
    outputs = {name: artifact(name) for name in ("chain", "report", "summary")}
    assert chart_chain.python_func(stage=2, **before, **stage, **outputs)[0] is True
    longer = {name: artifact(f"{name} 2") for name in outputs}
    given = {"direct": right("direct", 7), "earlier": outputs["chain"]}
    assert chart_chain.python_func(stage=3, **before, **stage, **longer, **given)[0] is True
    chain = Chain.model_validate_json(Path(longer["chain"].path).read_bytes())
    assert [stage.label for stage in chain.stages] == ["release-1", "release-2", "release-3"]
    assert "fine-tuned directly</span>" in Path(longer["report"].path).read_text()
    assert '"score direct 3": 0.875' in capsys.readouterr().out


def test_a_grid_has_every_pair(artifact, right):
    labels = ("a", "b")
    statistics = Statistics(tensors=build_statistics(1)).model_dump_json()
    report, summary = artifact("report"), artifact("summary")
    chart_grid.python_func(
        bases=[{"label": label, "tuned": f"{label} tuned"} for label in labels],
        pairs=[{"source": "a", "target": "b", "label": "a to b"}, {"source": "b", "target": "a", "label": "b to a"}],
        bare=[right(label, 1, role=label) for label in labels],
        own=[right(f"{label} tuned", 7, role=f"{label} tuned") for label in labels],
        moved=[right(label, 4, role=label) for label in ("b to a", "a to b")],
        statistics=[artifact(f"s {label}", statistics, role=label) for label in ("b to a", "a to b")],
        report=report,
        summary=summary,
    )
    assert Path(report.path).read_text().count("--heat: ") == 12
    assert "| a | (87.5) | 50.0 |" in Path(summary.path).read_text()


def test_lengths_are_paired_by_their_share(artifact, right, capsys):
    tuned = artifact("checkpoint.json", steps="100")
    made = checkpoint("further", "fine-tuning")
    write_checkpoint(tuned, made.model_copy(update={"digest": content_digest(made.files)}))
    report, summary = artifact("report"), artifact("summary")
    passed, reason = chart_lengths.python_func(
        recycled_evaluation=right("recycled", 4),
        target_base_evaluation=right("base", 0),
        recycled_tuned=tuned,
        recycled_tuned_evaluation=right("recycled tuned", 8),
        target_tuned_evaluation=right("base tuned", 6),
        recycled_shorter=[right("recycled 25", 6, role="recycled 25")],
        target_shorter=[right("base 25", 2, role="base 25")],
        recycled_trainings=[{"label": "recycled 25", "share": "0.25"}],
        target_trainings=[{"label": "base 25", "share": "0.25"}],
        gate_tolerance=0.02,
        report=report,
        summary=summary,
    )
    assert passed
    assert "directly fine-tuned model" in reason
    ended = json.loads(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("recycle-event "))
    assert ended["outcome"]["metrics"]["training steps saved"] == 75
    assert "75 training steps saved" in Path(summary.path).read_text()
