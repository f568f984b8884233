import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from components.errors import BadParameter
from components.forecast.verdict import ConnectivityLine, forecast_by_statistics

HOSTILE = (
    "</td></details><script>alert(1)</script>\n\n# pwn | `x` ``` [a](javascript:b) ![i](http://e.x/i) \u202e\x00 &amp;"
)
VOID = {"meta", "br", "hr", "img", "link", "input"}
OPEN_SHAPES = {"line", "circle", "path", "rect"}


class Page(HTMLParser):
    """The elements, attributes and text of a page, refusing one whose tags do not nest."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in OPEN_SHAPES
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture
def run(make_report):
    return make_report


@pytest.fixture
def hostile_run(run, demo_models, make_statistics):
    def poison(model):
        samples = tuple(
            sample.model_copy(update={"id": sample.id + HOSTILE, "question": HOSTILE, "expected": HOSTILE})
            for sample in model.evaluation.samples
        )
        tasks = tuple(
            task.model_copy(update={"task": HOSTILE + task.task, "description": HOSTILE, "metric": HOSTILE})
            for task in model.evaluation.tasks
        )
        samples = tuple(
            sample.model_copy(update={"task": HOSTILE + sample.task, "reply": HOSTILE}) for sample in samples
        )
        changes = {"samples": samples, "tasks": tasks, "model_name": HOSTILE, "suite": HOSTILE}
        evaluation = model.evaluation.model_copy(update={**changes, "harness": HOSTILE})
        return replace(model, evaluation=evaluation, lineage=((HOSTILE, HOSTILE),))

    return run(
        models=tuple(map(poison, demo_models)),
        title=HOSTILE,
        scale=HOSTILE,
        dtype=HOSTILE,
        load_path=HOSTILE,
        notes=(HOSTILE,),
        statistics=tuple(tensor.model_copy(update={"name": HOSTILE}) for tensor in make_statistics(1)),
    )


def test_html_leads_with_the_verdict_and_the_number_that_matters(run):
    result = run()
    page = Page(result.html)
    assert page.text.index("Passed") < page.text.index("Scores")
    assert result.gate.reason in page.text
    assert page.text.index("Recycled against target base") < page.text.index("Scores")
    lead = result.metrics["recycled_minus_target_base"]
    assert f"+{100 * lead:.1f} points" in page.text


def test_html_is_self_contained_and_runs_nothing(run):
    page = Page(run().html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not {name for name in attributes if name in ("src", "href", "action", "style") or name.startswith("on")}
    assert "url(" not in run().html
    assert "@import" not in run().html
    policies = [attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def test_html_follows_the_readers_scheme_with_enough_contrast(run):
    style = re.search("<style>(.*?)</style>", run().html, re.S)[1]
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", scheme))
        for name in ("text", "muted", "accent", "good", "bad", "partly"):
            for ground in ("page", "panel"):
                # WCAG 2.2 AA for text.
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_table_headers_and_plots_are_named_for_screen_readers(run):
    page = Page(run().html)
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    plots = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("class") == "plot"]
    assert len(plots) == 3 + 3
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)


def test_hostile_text_stays_text_in_html(hostile_run):
    page = Page(hostile_run.html)
    tags = {tag for tag, _ in page.elements}
    assert not {"script", "a", "img"} & tags
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in hostile_run.html
    assert "\x00" not in hostile_run.html


def test_hostile_text_stays_in_its_markdown_cell(hostile_run):
    page = hostile_run.markdown
    assert "<" not in page
    assert "\u202e" not in page
    assert not re.search(r"^# pwn", page, re.M)
    assert not re.search(r"(?<!\\)`|(?<!\\)\[", page)
    for rows in re.findall(r"(?:^\|.*\n)+", page, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}) == 1
    assert page.count("\n# ") == 0


def test_snippets_quote_the_path(run):
    html = Page(run(load_path='/models/a "b" $(c)').html).text
    assert 'path = "/models/a \\"b\\" $(c)"' in html
    assert "vllm serve '/models/a \"b\" $(c)'" in html


def test_markdown_says_what_html_says(run):
    result = run(notes=("The tokenizers differ in 8 tokens.",))
    page = Page(result.html).text
    assert result.gate.reason in page
    for figure in re.findall(r"[+−][\d.]+ to [+−]?[\d.]+", result.markdown):
        assert figure in page
    assert "The tokenizers differ in 8 tokens." in page
    assert "The tokenizers differ in 8 tokens." in result.markdown


def test_answers_show_right_and_wrong_in_words(run):
    page = Page(run().html)
    assert "✓ right" in page.text
    assert "✗ wrong" in page.text
    assert [attributes.get("class") for tag, attributes in page.elements if tag == "article"] == ["example"] * 12


def test_long_replies_are_folded_with_their_full_text(run, make_models):
    reply = "We reason. " * 200 + "So it is 42."
    shares = {"target base": 0.1, "recycled": 0.9, "source fine-tuned": 0.5}
    html = run(models=make_models(shares, reply=reply)).html
    assert html.count(reply) == 12 * 3
    assert html.count('<details class="long">') == 12 * 3


def test_digests_are_short_to_see_and_whole_to_copy(run):
    digest = "0a" * 32
    assert f'<span class="hex" title="{digest}">{digest}</span>' in run().html


def test_without_statistics_the_report_says_so(run):
    result = run(statistics=())
    assert "left no statistics" in result.html
    assert Page(result.html)


def test_three_models_are_enough(run, demo_models):
    assert "arget fine-tuned" not in run(models=demo_models[:3]).html


def test_a_failed_gate_is_told_in_both(run, make_models):
    models = make_models({"target base": 0.5, "recycled": 0.6, "source fine-tuned": 0.95})
    result = run(models=models)
    assert not result.gate.passed
    assert "✗ Failed" in Page(result.html).text
    assert "**Failed.**" in result.markdown


def test_what_deserves_doubt_is_remarked(run, make_statistics, demo_models):
    statistics = [
        t.model_copy(update={"gap_squared": 2 * t.source_squared, "delta_squared": 0.0, "nonfinite": 1})
        for t in make_statistics(3)
    ]
    other = demo_models[0].evaluation.model_copy(update={"harness": "olmes 1.0"})
    models = (replace(demo_models[0], evaluation=other), *demo_models[1:])
    text = Page(run(statistics=tuple(statistics), models=models).html).text
    assert "look unrelated: their relative gap ‖M_t − M_s‖/‖M_s‖ is 1.41" in text
    assert "the transfer added nothing" in text
    assert "9 elements are NaN or infinite" in text
    assert "different programs (lm-eval 0.4.13, olmes 1.0)" in text
    assert "Before you rely on it" not in Page(run().html).text


def test_terminal_table_is_aligned(run):
    lines = run().text.splitlines()
    assert lines[0].split() == ["Score,", "%", "Mean", "task_0", "task_1"]
    assert lines[2].startswith("Recycled ")
    assert "− target base" in lines[7]
    assert len(lines[0]) == len(lines[1]) == len(lines[7])


def test_metrics_are_finite_and_complete(run):
    metrics = run().metrics
    assert metrics["score_target_base"] == 0.0
    for other in ("target_base", "source_fine_tuned", "target_fine_tuned"):
        low, value, high = (metrics[f"recycled_minus_{other}{end}"] for end in ("_low", "", "_high"))
        assert -1 <= low <= value <= high <= 1


def test_a_missing_model_and_a_tolerance_that_is_none_are_refused(run, demo_models):
    with pytest.raises(BadParameter, match="no source fine-tuned model"):
        run(models=demo_models[:2])
    with pytest.raises(BadParameter, match="tolerance is -1"):
        run(tolerance=-1)


def test_the_forecast_stands_beside_what_came_of_it(run, make_statistics):
    line = ConnectivityLine(shares=(0, 0.5, 1), losses=(2.0, 5.0, 3.0), vocabulary=1000, tokens=1008)
    result = run(forecast=forecast_by_statistics(make_statistics(3), line))
    page = Page(result.html)
    assert "Will it transfer? Forecast before the evaluation" in page.text
    assert "Unlikely" in page.text
    assert "barrier between the bases, nats per token" in page.text
    assert "Loss along the line between the bases" in result.html
    assert page.text.count("are not linearly connected") == 1, "told once, at the top"
    assert "are not linearly connected" in result.markdown


def test_without_a_line_the_forecast_is_from_the_statistics(run):
    text = Page(run().html).text
    assert "closeness of the bases" in text
    assert "The two bases are close" in text
    assert "Will it transfer?" not in Page(run(statistics=()).html).text
