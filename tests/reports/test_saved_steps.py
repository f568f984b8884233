"""Training steps saved, by hand, and the report on them."""

import pytest

from components.errors import BadParameter
from components.judging.saved_steps import AfterSteps, compare_lengths, pair_by_steps, saved_steps
from components.reports.saved_steps import curves, report_on_saved_steps
from tests.support.evaluations import build_evaluation

HOSTILE = "<script>alert(1)</script>|\u202e*x*"


def right(count, of=8, **changes):
    """An evaluation of one task with so many right answers."""
    return build_evaluation({"facts": [1.0] * count + [0.0] * (of - count)}, **changes)


def measured(recycled, direct, steps=(0, 25, 100)):
    return [
        AfterSteps(steps=step, recycled=right(ours), target_base=right(theirs))
        for step, ours, theirs in zip(steps, recycled, direct, strict=True)
    ]


def found(recycled, direct):
    return compare_lengths(measured(recycled, direct), tolerance=0.02)


def test_the_score_is_reached_in_a_straight_line_between_two_lengths():
    saved = saved_steps([(0, 0.2), (20, 0.4), (100, 0.8)], [(0, 0.0), (20, 0.3), (100, 0.5)])
    assert (saved.goal, saved.direct, saved.recycled) == (0.5, 100, pytest.approx(40))
    assert (saved.saved, saved.share) == (pytest.approx(60), pytest.approx(0.6))


@pytest.mark.parametrize(
    ("reached", "needed"),
    [
        ([(0, 0.5), (100, 0.4)], 0),
        ([(0, 0.1), (50, 0.5), (100, 0.9)], 50),
        ([(0, 0.1), (50, 0.4), (100, 0.5)], 100),
        ([(0, 0.1), (25, 0.6), (50, 0.2), (100, 0.9)], 20),
        ([(0, 0.5 - 1e-12), (100, 0.9)], 0),
    ],
)
def test_where_it_is_reached_first(reached, needed):
    assert saved_steps(reached, [(0, 0.0), (100, 0.5)]).recycled == pytest.approx(needed)


def test_a_recipe_that_is_too_long_saves_nothing():
    # The target base has its last score after 50 of 100 steps already.
    saved = saved_steps([(0, 0.2), (50, 0.4), (100, 0.9)], [(0, 0.0), (50, 0.8), (100, 0.8)])
    assert (saved.direct, saved.recycled, saved.saved) == (50, pytest.approx(90), pytest.approx(-40))


def test_a_score_that_is_not_reached_saves_nothing():
    saved = saved_steps([(0, 0.1), (100, 0.4)], [(0, 0.0), (100, 0.5)])
    assert saved.recycled is None
    assert (saved.saved, saved.share) == (0, 0)


def test_figures_by_hand():
    # Of 8 questions: recycled 4, 6, 8 right and directly 0, 2, 6, after 0, 25 and 100 steps.
    all_of_it = found((4, 6, 8), (0, 2, 6))
    assert [row.steps for row in all_of_it.rows] == [0, 25, 100]
    assert [row.lead[0].value for row in all_of_it.rows] == [0.5, 0.5, 0.25]
    assert [row.against_full[0].value for row in all_of_it.rows] == [-0.25, 0.0, 0.25]
    assert (all_of_it.saving.direct, all_of_it.saving.recycled) == (100, 25)
    assert report_on_saved_steps(all_of_it, title="Recycled").metrics == {
        "training steps saved": 75,
        "share of training saved": 0.75,
        "reached the direct fine-tune": 1,
        "score recycled then fine-tuned": 1,
        "score directly fine-tuned": 0.75,
        "score recycled": 0.5,
        "score target base": 0,
    }
    assert curves(all_of_it)[1] == (25, {"score from recycled": 0.75, "score from target base": 0.25})
    assert all_of_it.gate.passed
    assert "directly fine-tuned model" in all_of_it.gate.reason


def test_order_does_not_matter():
    several = measured((4, 6, 8), (0, 2, 6))
    assert compare_lengths(several[::-1], tolerance=0.02) == compare_lengths(several, tolerance=0.02)


def test_a_model_that_falls_behind_the_direct_one_fails():
    gate = found((0, 4, 4), (0, 6, 8)).gate
    assert not gate.passed
    assert "50.0 points below the directly fine-tuned model" in gate.reason


@pytest.mark.parametrize(
    ("recycled", "direct", "said"),
    [
        ((4, 6, 8), (0, 2, 6), "after 25, the target base after 100: 75 training steps saved"),
        ((0, 4, 4), (0, 6, 8), "does not reach 100.0 %"),
        ((8, 8, 8), (0, 6, 8), "before any training; the target base reaches it after 100: 100 training steps saved"),
        ((0, 2, 8), (0, 8, 8), "after 100, the target base after 25: no training steps saved"),
    ],
)
def test_what_was_saved_is_said_everywhere(recycled, direct, said):
    report = report_on_saved_steps(found(recycled, direct), title="Recycled")
    for text in (report.text, report.html, report.markdown):
        assert said in text


def test_the_page_asks_for_nothing_and_shows_hostile_text_as_text():
    several = [
        AfterSteps(steps=steps, recycled=one, target_base=one)
        for steps in (0, 1)
        for one in [build_evaluation({HOSTILE: [1.0, 0.0]}, harness=HOSTILE)]
    ]
    all_of_it = compare_lengths(several, tolerance=0.02)
    report = report_on_saved_steps(all_of_it, title=HOSTILE)
    page = report.html
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "\u202e" not in page
    markdown = report.markdown
    assert "<script" not in markdown
    assert all(line.count(" | ") == 3 for line in markdown.splitlines() if line.startswith("| 0 "))


def test_models_that_answered_other_questions_are_refused():
    with pytest.raises(BadParameter, match="not evaluated on the same questions"):
        compare_lengths([AfterSteps(steps=0, recycled=right(1, of=4), target_base=right(1, of=5))], tolerance=0.02)


def test_models_are_paired_by_the_share_of_the_steps():
    ours, theirs = ({share: right(count) for share, count in ((0.0, 1), (0.001, 2), (0.25, 3), (1.0, 4))} for _ in "ab")
    pairs = pair_by_steps(ours, dict(reversed(theirs.items())), steps=100)
    assert [pair.steps for pair in pairs] == [0, 1, 25, 100]
    assert all(pair.recycled == pair.target_base for pair in pairs)
