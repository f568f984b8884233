"""One comparison, by hand."""

import pytest

from components.errors import BadParameter
from components.judging.comparison import compare_models
from components.judging.roles import Role
from tests.support.evaluations import build_evaluation


def right(count, of=100):
    return build_evaluation({"facts": [1.0] * count + [0.0] * (of - count)})


EVALUATIONS = {Role.TARGET_BASE: right(20), Role.RECYCLED: right(80), Role.SOURCE_TUNED: right(75)}


def test_scores_and_differences_by_role():
    found = compare_models(EVALUATIONS)
    assert [cells[0].value for cells in found.scores.values()] == [0.2, 0.8, 0.75]
    assert {role: round(cells[1].value, 9) for role, cells in found.differences.items()} == {
        Role.TARGET_BASE: 0.6,
        Role.SOURCE_TUNED: 0.05,
    }
    assert found.gate.passed


def test_the_verdict_is_the_gain_over_the_target_base():
    found = compare_models(EVALUATIONS)
    gain = found.differences[Role.TARGET_BASE][0]
    assert found.verdict() == {"passed": 1.0, "gain": gain.value, "low": gain.low, "high": gain.high}
    assert found.metrics()["recycled_minus_target_base_low"] == gain.low
    assert compare_models({**EVALUATIONS, Role.RECYCLED: right(20)}).verdict()["passed"] == 0.0


def test_at_another_scale_the_model_must_be_no_worse_than_at_the_one_that_was_set():
    assert compare_models(EVALUATIONS, first=right(80)).gate.passed
    assert not compare_models(EVALUATIONS, first=right(81)).gate.passed


@pytest.mark.parametrize("role", EVALUATIONS)
def test_a_model_that_is_missing_is_named(role):
    rest = {other: evaluation for other, evaluation in EVALUATIONS.items() if other is not role}
    with pytest.raises(BadParameter, match=f"no {role} model was evaluated"):
        compare_models(rest)
