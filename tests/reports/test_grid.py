"""A grid, by hand, and the report on it."""

import re

import pytest

from components.judging.grid import GridEvaluations, build_grid, spearman
from components.reports.grid import conclusion, report_on_grid
from tests.support.evaluations import build_evaluation

LABELS = ("a", "b", "c")
HOSTILE = "<script>alert(1)</script>|\u202e*x*"


def right(count, of=10, **changes):
    return build_evaluation({"facts": [1.0] * count + [0.0] * (of - count)}, **changes)


def measured(moved, *, labels=LABELS, bare=1, own=9, **changes):
    """A grid in which the distance of two bases is that of their places, in tenths."""
    pairs = [(source, target) for source in labels for target in labels if source != target]
    return GridEvaluations(
        labels=labels,
        bare={label: right(bare, **changes) for label in labels},
        own={label: right(own, **changes) for label in labels},
        moved={pair: right(count, **changes) for pair, count in zip(pairs, moved, strict=True)},
        distances={(s, t): abs(labels.index(s) - labels.index(t)) / 10 for s, t in pairs},
    )


# In this order: a onto b, a onto c, b onto a, b onto c, c onto a, c onto b.
NEAR_IS_BETTER = (9, 3, 7, 7, 3, 9)


def test_figures_by_hand():
    found = build_grid(measured(NEAR_IS_BETTER))
    cell = found.cells["a", "c"]
    assert (cell.score[0].value, cell.distance) == (0.3, 0.2)
    assert cell.over_bare[0].value == pytest.approx(0.2)
    assert cell.against_own[0].value == pytest.approx(-0.6)
    assert cell.kept[0] == pytest.approx(0.25)
    assert list(found.cells) == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]
    assert found.mean_kept(0) == pytest.approx((1 + 0.25 + 0.75 + 0.75 + 0.25 + 1) / 6)


@pytest.mark.parametrize(
    ("pairs", "correlation"),
    [
        ([(1, 30), (2, 20), (3, 10)], -1),
        ([(1, 1), (2, 4), (3, 9)], 1),
        # Ranks 1, 2, 3, 4 against 1.5, 1.5, 4, 3: 3.5 of √(5 · 4.5).
        ([(1, 5), (2, 5), (3, 9), (4, 7)], 3.5 / (5 * 4.5) ** 0.5),
        ([(1, 1), (2, 2)], None),
        ([(1, 7), (2, 7), (3, 7)], None),
        ([], None),
    ],
)
def test_rank_correlation(pairs, correlation):
    found = spearman(pairs)
    assert found == (None if correlation is None else pytest.approx(correlation))


def test_nearness_is_told_as_it_is():
    assert "Nearer bases keep more of the gain" in conclusion(build_grid(measured(NEAR_IS_BETTER)))
    assert "do not keep more" in conclusion(build_grid(measured((3, 9, 3, 3, 9, 3))))
    assert "says little" in conclusion(build_grid(measured((3, 5, 5, 7, 5, 5))))
    assert "Too few" in conclusion(build_grid(measured((5, 5, 5, 5, 5, 5))))
    assert "Too few" in conclusion(build_grid(measured((5, 7), labels=("a", "b"))))


def test_a_base_that_gains_nothing_has_no_share_to_keep():
    found = build_grid(measured(NEAR_IS_BETTER, bare=9))
    assert all(cell.kept == (None, None) for cell in found.cells.values())
    assert found.mean_kept(0) is None
    assert "nothing to keep a share of" in report_on_grid(found).html
    assert not [name for name in report_on_grid(found).metrics if name.startswith(("kept", "mean", "correlation"))]


def test_metrics_have_every_cell():
    values = report_on_grid(build_grid(measured(NEAR_IS_BETTER))).metrics
    assert values["score bare a"] == 0.1
    assert values["score b onto b"] == 0.9
    assert values["score a onto c"] == 0.3
    assert values["kept a onto b"] == pytest.approx(1)
    assert values["correlation of distance and kept share"] == pytest.approx(-(0.75**0.5))
    assert len([name for name in values if " onto " in name and name.startswith("score")]) == 9


def test_the_map_shades_from_the_lowest_to_the_highest_score():
    page = report_on_grid(build_grid(measured(NEAR_IS_BETTER))).html
    shades = re.findall(r'--heat: ([\d.]+)%">([\d.]+)', page)[:12]
    assert shades[:3] == [("0.0", "10.0")] * 3
    assert ("50.0", "90.0") in shades
    assert ("12.5", "30.0") in shades


def test_the_table_for_a_terminal():
    lines = report_on_grid(build_grid(measured(NEAR_IS_BETTER))).text.splitlines()
    assert lines[1].split() == ["none", "(bare)", "10.0", "10.0", "10.0"]
    assert lines[2].split() == ["a", "(90.0)", "90.0", "30.0"]


def test_hostile_text_stays_text():
    found = build_grid(measured((5, 7), labels=(HOSTILE, "b"), harness=HOSTILE, suite=HOSTILE))
    for page in (report_on_grid(found).html, report_on_grid(found).markdown):
        assert "<script" not in page
        assert "\u202e" not in page
    rows = [line for line in report_on_grid(found).markdown.splitlines() if line.startswith("| b ")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
