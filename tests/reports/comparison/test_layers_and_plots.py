from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from components.judging.paired import Estimate
from components.judging.roles import Role
from components.reports.comparison.layers import by_layer
from components.reports.plots import WIDTH, layer_panel, nice_ticks, score_panel
from components.transfer.statistics import total

SVG_TEXT, SVG_CIRCLE = "text", "circle"


def test_tensors_are_added_up_by_layer_between_the_ends(make_statistics):
    statistics = make_statistics(12)
    layers = by_layer(reversed(statistics))
    assert [layer.name for layer in layers] == ["embed", *map(str, range(12)), "head"]
    third = total("2", [tensor for tensor in statistics if ".layers.2." in tensor.name])
    assert layers[3].delta_squared == pytest.approx(third.delta_squared)
    assert sum(layer.elements for layer in layers) == sum(tensor.elements for tensor in statistics)


def test_other_naming_schemes_and_two_stacks(make_statistics):
    (tensor, *_) = make_statistics(1)
    names = ["transformer.wte.weight", "enc.block.1.w", "enc.block.0.w", "h.0.attn.w", "transformer.ln_f.weight"]
    layers = by_layer(tensor.model_copy(update={"name": name}) for name in names)
    assert [layer.name for layer in layers] == ["embed", "0", "1", "0", "head"]


def test_no_statistics_no_layers():
    assert by_layer(()) == ()


@pytest.mark.parametrize("count", [1, 3, 16, 32, 80, 126])
def test_layer_panel_draws_every_layer_inside_its_frame_with_labels_apart(make_statistics, count):
    layers = by_layer(make_statistics(count))
    names = [layer.name for layer in layers]
    svg = ET.fromstring(layer_panel("Update", names, [layer.cosine for layer in layers], as_percent=False))
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    xs = [float(circle.attrib["cx"]) for circle in svg.iter(SVG_CIRCLE)]
    assert len(xs) == count + 2
    assert xs == sorted(xs)
    assert all(0 < x < width for x in xs)
    assert all(0 < float(circle.attrib["cy"]) < height for circle in svg.iter(SVG_CIRCLE))
    labels = [text for text in svg.iter(SVG_TEXT) if text.attrib["text-anchor"] == "middle"]
    assert {labels[0].text, labels[-1].text} == {"embed", "head"}
    for one, other in pairwise(labels):
        # About 6 units a character at the labels' size.
        space = float(other.attrib["x"]) - float(one.attrib["x"])
        assert space > 3 * (len(one.text) + len(other.text))


def test_layer_panel_without_ends_and_with_equal_values():
    svg = ET.fromstring(layer_panel("Update", ["0", "1", "2"], [0.0, 0.0, 0.0], as_percent=True))
    assert len(list(svg.iter(SVG_CIRCLE))) == 3


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 0.0128, [0, 0.005, 0.01, 0.015]),
        (-0.03, 0.06, [-0.05, -0.025, 0, 0.025, 0.05, 0.075]),
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 3e-9, [0, 1e-9, 2e-9, 3e-9]),
        (0, 0, [0, 0.25]),
    ],
)
def test_nice_ticks(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_score_panel_marks_each_model_on_a_full_scale():
    rows = [
        (Role.TARGET_BASE, Estimate(value=0.0, low=0.0, high=0.04)),
        (Role.RECYCLED, Estimate(value=0.9, low=0.82, high=0.94)),
        (Role.SOURCE_TUNED, Estimate(value=0.06, low=0.03, high=0.12)),
    ]
    svg = ET.fromstring(score_panel("<b>sort</b>", rows))
    assert svg.find("title").text == "Scores on <b>sort</b> with 95 % intervals"
    assert "recycled 90.0 % (82.0 to 94.0 %)" in svg.find("desc").text
    assert svg.attrib["role"] == "img"
    ranges = [line for line in svg.iter("line") if line.attrib["class"].startswith("range")]
    assert len(ranges) == 3
    starts = [float(line.attrib["x1"]) for line in ranges]
    assert starts[0] < starts[2] < starts[1]
    assert all(float(line.attrib["x2"]) < WIDTH for line in ranges)
