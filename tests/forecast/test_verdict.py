"""What a forecast says, from made-up figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.forecast.verdict import (
    APART,
    CONNECTED,
    NEAR,
    SEPARATE,
    UNRELATED,
    ConnectivityLine,
    forecast_by_gap,
    forecast_by_statistics,
)
from components.transfer.statistics import TensorStatistics

LOSSES = st.lists(st.floats(0, 20), min_size=2, max_size=9)


def line(*losses, vocabulary=1000):
    shares = tuple(index / (len(losses) - 1) for index in range(len(losses)))
    return ConnectivityLine(shares=shares, losses=losses, vocabulary=vocabulary, tokens=1008)


def statistics(gap, delta=0.1, source=100.0, name="model.layers.0.mlp.up_proj.weight"):
    return TensorStatistics(
        name=name,
        elements=1000,
        delta_squared=delta**2 * source,
        gap_squared=gap**2 * source,
        source_squared=source,
        delta_dot_gap=0.0,
        max_abs_delta=0.1,
        unchanged=0,
        nonfinite=0,
    )


@given(loss=st.floats(0, 20), points=st.integers(2, 9))
def test_equal_bases_have_no_barrier(loss, points):
    assert line(*[loss] * points).barrier == pytest.approx(0, abs=1e-9)


@given(LOSSES)
def test_the_barrier_is_the_same_from_either_end_and_never_negative(losses):
    there, back = line(*losses).barrier, line(*reversed(losses)).barrier
    assert there == pytest.approx(back, abs=1e-9)
    assert there >= 0


@given(st.lists(st.floats(0, 20), min_size=1, max_size=7), st.floats(0, 20), st.floats(0, 20))
def test_a_loss_below_the_straight_line_is_no_barrier(drops, first, last):
    count = len(drops) + 1
    inner = [first + (last - first) * (i + 1) / count - drop for i, drop in enumerate(drops)]
    assert line(first, *inner, last).barrier == pytest.approx(0, abs=1e-9)


@given(LOSSES, st.floats(-5, 5), st.floats(-5, 5))
def test_a_slope_common_to_all_points_changes_nothing(losses, slope, offset):
    plain = line(*losses)
    tilted = line(*(loss + offset + slope * share for loss, share in zip(losses, plain.shares, strict=True)))
    assert tilted.barrier == pytest.approx(plain.barrier, abs=1e-6)


def test_a_barrier_by_hand():
    made = line(2.0, 3.5, 3.0)
    assert made.barrier == pytest.approx(1.0)
    assert made.connectivity == pytest.approx(1 - 1 / (math.log(1000) - 2.5))


@given(LOSSES, st.integers(2, 200_000))
def test_connectivity_is_a_share_or_nothing(losses, vocabulary):
    found = line(*losses, vocabulary=vocabulary).connectivity
    assert found is None or 0 <= found <= 1


def test_bases_that_know_nothing_have_no_connectivity():
    chance = math.log(1000)
    assert line(chance, chance, chance).connectivity is None
    found = forecast_by_statistics([statistics(0.1)], line(chance, chance + 1, chance))
    assert (found.measure, found.verdict) == ("closeness", "likely")
    assert "was not measured: the bases know hardly more of their own text than chance does" in found.reason


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [(0.0, "unsure"), (0.17, "likely"), (NEAR, "unsure"), (UNRELATED, "unlikely"), (1.41, "unlikely"), (5, "unlikely")],
)
def test_the_gap_alone(gap, verdict):
    found = forecast_by_gap(gap)
    assert (found.verdict, found.measure) == (verdict, "closeness")
    assert found.number == pytest.approx(max(0, 1 - gap / math.sqrt(2)))
    assert bool(found.warning) == (verdict != "likely")


def level(connectivity):
    """A line of this connectivity."""
    known = math.log(1000) - 2
    return line(2.0, 2.0 + (1 - connectivity) * known, 2.0)


@pytest.mark.parametrize(
    ("connectivity", "verdict"),
    [
        (1.0, "likely"),
        (CONNECTED + 0.01, "likely"),
        (CONNECTED - 0.01, "unsure"),
        (SEPARATE, "unlikely"),
        (0, "unlikely"),
    ],
)
def test_the_line_counts_where_it_was_measured(connectivity, verdict):
    found = forecast_by_statistics([statistics(0.1)], level(connectivity))
    assert (found.verdict, found.measure) == (verdict, "connectivity")
    assert found.number == pytest.approx(connectivity)
    assert "linearly connected" in found.reason or "only partly connected" in found.reason


def test_the_worst_finding_decides_and_gives_the_reason():
    far = forecast_by_statistics([statistics(1.4)], level(1.0))
    assert far.verdict == "unlikely"
    assert "look unrelated" in far.reason
    assert "no barrier" not in far.reason


@pytest.mark.parametrize(("gap", "verdict"), [(0.8, "unsure"), (1.1, "unsure"), (APART, "unlikely")])
def test_bases_that_are_connected_may_be_further_apart(gap, verdict):
    assert forecast_by_statistics([statistics(gap)], level(1.0)).verdict == verdict
    assert forecast_by_statistics([statistics(gap)], level(0.8)).verdict == "unlikely"
    assert forecast_by_statistics([statistics(gap)], None).verdict == "unlikely"


def test_a_fine_tune_that_changed_nothing_is_told():
    found = forecast_by_statistics([statistics(0.1, delta=0.0)], level(1.0))
    assert found.verdict == "unlikely"
    assert "added nothing" in found.reason


def test_what_was_not_measured_is_told_and_the_statistics_decide():
    found = forecast_by_statistics([statistics(0.1), statistics(0.1)], None, "there is no room")
    assert (found.verdict, found.measure) == ("likely", "closeness")
    assert found.reason.endswith("The loss along the line between the bases was not measured: there is no room.")
    assert found.line is None


def test_norms_do_not_hide_how_far_the_matrices_moved():
    norms = [statistics(0.0, source=1e6, name=name) for name in ("model.norm.weight", "model.layers.0.q_proj.bias")]
    found = forecast_by_statistics([statistics(1.41), *norms], None)
    assert found.verdict == "unlikely"
    assert "is 1.41" in found.reason


def test_no_tensors_at_all():
    assert forecast_by_statistics([], None).verdict == "unlikely"
