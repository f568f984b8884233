import pytest

from components.judging.gate import decide_gate
from components.judging.paired import Estimate


def around(value, half=0.05):
    return Estimate(value=value, low=value - half, high=value + half)


def test_passes_when_clearly_better_than_the_base_and_level_with_the_fine_tune():
    gate = decide_gate(against_base=around(0.3), against_rival=around(0.01))
    assert gate.passed
    assert [check.passed for check in gate.checks] == [True, True]
    assert gate.reason == (
        "The recycled model beats the target base by 30.0 points (95 % interval +25.0 to +35.0) and "
        "scores 1.0 points above the source fine-tuned model (at most 2.0 points below is allowed)."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.04, "is not shown to beat the target base"), (-0.3, "scores 30.0 points below the target base")],
)
def test_fails_when_the_interval_reaches_0(value, said):
    gate = decide_gate(against_base=around(value), against_rival=around(0.5))
    assert not gate.passed
    assert said in gate.reason
    assert "source fine-tuned" not in gate.reason


def test_an_interval_that_touches_0_is_not_above_it():
    assert not decide_gate(against_base=Estimate(value=0.1, low=0.0, high=0.2), against_rival=around(0.0)).passed


def test_fails_when_further_below_the_fine_tune_than_tolerated():
    gate = decide_gate(against_base=around(0.3), against_rival=around(-0.021))
    assert not gate.passed
    assert "2.1 points below the source fine-tuned model (at most 2.0 points below is allowed)" in gate.reason
    assert "target base" not in gate.reason


def test_exactly_the_tolerance_passes_in_spite_of_rounding():
    below = 0.7 - 0.72
    assert below < -0.02
    assert decide_gate(against_base=around(0.3), against_rival=around(below)).passed


def test_the_tolerance_is_the_callers():
    assert decide_gate(against_base=around(0.3), against_rival=around(-0.09), tolerance=0.1).passed
    assert not decide_gate(against_base=around(0.3), against_rival=around(-0.01), tolerance=0.0).passed


def test_both_failures_are_told():
    gate = decide_gate(against_base=around(0.0), against_rival=around(-0.5))
    assert "target base" in gate.reason
    assert "50.0 points below the source fine-tuned model" in gate.reason


@pytest.mark.parametrize(("lead", "passes"), [(0.05, True), (0.0, True), (-0.005, False)])
def test_a_scale_that_a_search_chose_must_hold_on_the_whole_suite(lead, passes):
    found = decide_gate(against_base=around(0.3), against_rival=around(0.3), against_first=around(lead))
    assert found.passed is passes
    assert ("the one at the scale that was set" in found.reason) is True
    assert len(found.checks) == 3
