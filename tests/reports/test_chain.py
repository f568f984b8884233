"""A chain of releases, by hand, and the report on it."""

import pytest

from components.judging.chain import Chain, StageEvaluations, begin_chain, extend_chain, judge_stage
from components.reports.chain import report_on_chain
from tests.support.evaluations import build_evaluation

HOSTILE = "<script>alert(1)</script>|\u202e*x*"


def right(count, of=8, **changes):
    return build_evaluation({"facts": [1.0] * count + [0.0] * (of - count)}, **changes)


def stage(label="release-2", *, base=0, transferred=4, tuned=8, direct=None, before=6):
    return StageEvaluations(
        label=label,
        base=right(base),
        transferred=right(transferred),
        tuned=right(tuned),
        direct=None if direct is None else right(direct),
        tuned_before=right(before),
    )


def chain(*stages):
    found = begin_chain("release-1", right(0), right(6))
    for one in stages:
        found = extend_chain(found, one)
    return found


def test_figures_by_hand():
    first, second = chain(stage(direct=6)).stages
    assert (first.base[0].value, first.tuned[0].value) == (0, 0.75)
    assert first.transferred is first.direct is first.gained is None
    assert [cells[0].value for cells in (second.base, second.transferred, second.tuned)] == [0, 0.5, 1]
    assert (second.gained[0].value, second.over_direct[0].value) == (0.5, 0.25)


def test_a_chain_goes_on_from_what_the_chart_before_wrote():
    before = chain(stage())
    read = Chain.model_validate_json(before.model_dump_json())
    assert extend_chain(read, stage("release-3")) == extend_chain(before, stage("release-3"))
    assert [one.label for one in extend_chain(read, stage("release-3")).stages] == [
        "release-1",
        "release-2",
        "release-3",
    ]


def test_the_newest_model_must_beat_its_base_and_keep_up_with_the_one_before():
    assert judge_stage(stage(), tolerance=0.02).passed
    worse = judge_stage(stage(tuned=4), tolerance=0.02)
    assert not worse.passed
    assert "25.0 points below the model of the release before" in worse.reason
    assert judge_stage(stage(tuned=4, before=4, base=4), tolerance=0.02).reason.startswith(
        "The newest model of the chain"
    )


def test_metrics_are_by_stage_and_more_with_the_direct_fine_tune():
    gate = judge_stage(stage(), tolerance=0.02)
    plain, direct = (report_on_chain(one, gate).metrics for one in (chain(stage()), chain(stage(direct=6))))
    assert plain == {
        "score tuned 1": 0.75,
        "score base 1": 0,
        "score tuned 2": 1,
        "score transferred 2": 0.5,
        "score base 2": 0,
    }
    assert direct == plain | {"score direct 2": 0.75}


@pytest.mark.parametrize("direct", [None, 6])
def test_the_report_has_every_stage(direct):
    found, gate = chain(stage(direct=direct)), judge_stage(stage(), tolerance=0.02)
    report = report_on_chain(found, gate)
    assert report.html.startswith("<!DOCTYPE html>")
    assert ("fine-tuned directly</span>" in report.html) == (direct is not None)
    assert "| release-1 | 0.0 | – | 75.0 | – | – |" in report.markdown
    ahead = "75.0 | +25.0 \\[" if direct else "– | – |"
    assert f"| release-2 | 0.0 | 50.0 | 100.0 | {ahead}" in report.markdown
    assert f"**Passed.** {gate.reason}" in report.markdown.replace("\\", "")
    assert "release-2" in report.text


def test_hostile_text_stays_text():
    found = begin_chain(HOSTILE, right(0, harness=HOSTILE), right(6, harness=HOSTILE))
    found = extend_chain(found, stage(HOSTILE))
    gate = judge_stage(stage(), tolerance=0.02)
    report = report_on_chain(found, gate)
    for page in (report.html, report.markdown):
        assert "<script" not in page
        assert "\u202e" not in page
