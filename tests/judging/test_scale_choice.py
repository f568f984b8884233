"""Which λ is chosen, from made-up evaluations, and the page that shows it."""

import random
import re
from html.parser import HTMLParser

import pytest

from components.errors import BadParameter
from components.judging.evaluation import Evaluation, Sample, TaskScore
from components.judging.scale_choice import choose_best_scale
from components.reports.scale_search import report_on_scale_search

HOSTILE = "</td><script>alert(1)</script> | `x` [a](javascript:b) \u202e\x00 &amp;"
VOID = {"meta", "link", "br"}
SHAPES = {"line", "circle", "path"}


def evaluation(share, *, task="places", samples=100, suite_digest="a" * 64, seed=0, name="m"):
    """One task of which this share is right; two of one seed differ as little as they can."""
    order = random.Random(seed).sample(range(samples), samples)
    right = set(order[: round(share * samples)])
    values = [float(index in right) for index in range(samples)]
    return Evaluation(
        suite="suite",
        suite_digest=suite_digest,
        harness="lm-eval 0.4.13",
        model_name=name,
        model_digest="0" * 64,
        seconds=1.0,
        tasks=(TaskScore(task=task, description="d", metric="m", score=sum(values) / samples, samples=samples),),
        samples=tuple(
            Sample(task=task, id=str(i), question="q", expected="e", reply="r", score=value)
            for i, value in enumerate(values)
        ),
    )


def test_a_clear_lead_is_chosen():
    choice = choose_best_scale((1.0, evaluation(0.5)), [(0.5, evaluation(0.4)), (1.5, evaluation(0.8))])
    assert choice.moved
    assert choice.chosen.scale == 1.5
    assert "λ = 1.5 scores 80.0 %, +30.0 points against λ = 1 (50.0 %)" in choice.reason


def test_a_lead_that_may_be_chance_is_not():
    choice = choose_best_scale((1.0, evaluation(0.50)), [(0.5, evaluation(0.52)), (1.5, evaluation(0.1))])
    assert not choice.moved
    assert choice.chosen is choice.main
    assert "λ = 1 (50.0 %) is kept: λ = 0.5 scores 52.0 %, but the 95 % interval of its lead" in choice.reason
    assert choice.reason.endswith("reaches 0.")


def test_a_lead_that_is_clear_by_itself_is_not_when_it_is_the_best_of_five():
    main, better = evaluation(0.50), evaluation(0.56)
    assert choose_best_scale((1.0, main), [(1.5, better)]).chosen.scale == 1.5
    others = [(scale, evaluation(0.2)) for scale in (0.2, 0.4, 0.6, 0.8)]
    choice = choose_best_scale((1.0, main), [(1.5, better), *others])
    assert choice.chosen is choice.main
    assert choice.reason.endswith("reaches 0 when it is widened for all tries.")


def test_the_best_is_kept_where_none_is_better():
    choice = choose_best_scale((1.0, evaluation(0.9)), [(0.5, evaluation(0.9)), (1.5, evaluation(0.2))])
    assert not choice.moved
    assert "no other λ scores higher" in choice.reason


def test_of_several_clear_leads_the_best_mean_wins_and_the_order_does_not_count():
    others = [(0.5, evaluation(0.9)), (0.75, evaluation(0.8)), (1.5, evaluation(0.3))]
    assert {choose_best_scale((1.0, evaluation(0.4)), order).chosen.scale for order in (others, others[::-1])} == {0.5}


def test_a_better_mean_with_a_wide_interval_yields_to_one_that_is_clear():
    """Of two leads only one may be above chance: here the larger one is, on questions that others got right."""
    clear = evaluation(0.62)
    noisy = evaluation(0.63, seed=1)
    choice = choose_best_scale((1.0, evaluation(0.5)), [(0.5, noisy), (1.5, clear)])
    noisy_point = next(point for point in choice.tried if point.scale == 0.5)
    assert noisy_point.lead.mean.low < 0 < noisy_point.lead.mean.value
    assert choice.chosen.scale == 1.5


def test_the_points_are_in_the_order_of_their_scale():
    choice = choose_best_scale((1.0, evaluation(0.5)), [(1.5, evaluation(0.4)), (0.5, evaluation(0.3))])
    assert [point.scale for point in choice.tried] == [0.5, 1.0, 1.5]


def test_other_questions_are_refused():
    with pytest.raises(BadParameter, match="not evaluated on the same questions"):
        choose_best_scale((1.0, evaluation(0.5)), [(0.5, evaluation(0.5, suite_digest="b" * 64))])


class Page(HTMLParser):
    """A page whose tags nest."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def hostile():
    given = [(scale, evaluation(share, task=HOSTILE)) for scale, share in ((1.0, 0.5), (0.5, 0.0), (1.5, 1.0))]
    given = [(scale, one.model_copy(update={"suite": HOSTILE, "harness": HOSTILE})) for scale, one in given]
    return choose_best_scale(given[0], given[1:])


def test_the_page_runs_nothing_and_loads_nothing_whatever_it_shows(hostile):
    html = report_on_scale_search(hostile, title=HOSTILE).html
    page = Page(html)
    assert "script" not in page.tags
    assert "Content-Security-Policy" in html
    assert not re.search(r"(src|href)\s*=", html.split("</head>")[1].replace(HOSTILE, ""))
    assert "\u202e" not in html
    assert "\x00" not in html
    assert "λ = 1.5 scores 100.0 %" in " ".join("".join(page.words).split())


def test_the_markdown_has_a_row_for_each_point(hostile):
    text = report_on_scale_search(hostile, title=HOSTILE).markdown
    assert "<script" not in text
    assert "[a](javascript" not in text
    rows = [line for line in text.replace("\\.", ".").splitlines() if re.match(r"\| [\d.]+ \|", line)]
    assert [row.split("|")[1].strip() for row in rows] == ["0.5", "1", "1.5"]
    assert "as it was set" in rows[1]


def test_equal_scores_are_drawn_too():
    choice = choose_best_scale((1.0, evaluation(0.0)), [(0.5, evaluation(0.0)), (1.5, evaluation(0.0))])
    Page(report_on_scale_search(choice, title="t").html)
