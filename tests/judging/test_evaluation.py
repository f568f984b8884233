import math

import pytest
from pydantic import ValidationError

from components.judging.evaluation import Evaluation, Sample, TaskScore, Weighted


def evaluation(**tasks):
    """An evaluation whose tasks have these (score, weight) pairs."""
    samples = tuple(
        Sample(task=task, id=str(n), question="q", expected="e", reply="r", score=score, weight=weight)
        for task, pairs in tasks.items()
        for n, (score, weight) in enumerate(pairs)
    )
    scores = tuple(
        TaskScore(
            task=task,
            description="d",
            metric="m",
            score=Weighted(values=[score for score, _ in pairs], weights=[weight for _, weight in pairs]).mean,
            samples=len(pairs),
        )
        for task, pairs in tasks.items()
    )
    about = {"suite": "s", "suite_digest": "d", "harness": "h", "model_name": "n", "model_digest": "m", "seconds": 2.0}
    return Evaluation(tasks=scores, samples=samples, **about)


def test_the_standard_error_of_a_share_is_the_textbooks():
    found = evaluation(a=[(1.0, 1.0)] * 30 + [(0.0, 1.0)] * 70)
    assert found.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 100))


def test_tasks_errors_add_in_squares():
    found = evaluation(a=[(1.0, 1.0), (0.0, 1.0)] * 50, b=[(1.0, 1.0), (0.0, 1.0)] * 200)
    assert found.standard_errors() == {"a": pytest.approx(0.05), "b": pytest.approx(0.025)}
    assert found.standard_error == pytest.approx(math.hypot(0.05, 0.025) / 2)
    assert found.metrics() == {"score": 0.5, "standard error": found.standard_error, "a": 0.5, "b": 0.5}


def test_a_macro_average_has_the_error_of_its_parts():
    # Two parts of one mean: 40 and 10 questions, half of each right. √(¼/40 + ¼/10) / 2.
    parts = [(1.0, 1 / 40), (0.0, 1 / 40)] * 20 + [(1.0, 1 / 10), (0.0, 1 / 10)] * 5
    found = evaluation(a=parts)
    assert found.score == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(math.sqrt(0.25 / 40 + 0.25 / 10) / 2)


def test_it_is_read_as_it_was_written(tmp_path):
    found = evaluation(a=[(1.0, 3.0), (0.0, 1.0)])
    found.write(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == found


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_every_sample_counts(weight):
    with pytest.raises(ValidationError, match="weight"):
        evaluation(a=[(1.0, 1.0)]).samples[0].model_validate(
            evaluation(a=[(1.0, 1.0)]).samples[0].model_dump() | {"weight": weight}
        )
