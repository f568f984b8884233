"""Plots as inline SVG: small panels of one width that a page lays side by side.

Colours and fonts are CSS classes of the page, so that a panel follows its light or dark scheme. Every panel has a
title and a sentence with its figures, for readers who cannot see it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from components.forecast import ConnectivityLine
from components.judging import Estimate, Role, percent
from components.reports.comparison.layers import EMBEDDING, HEAD
from components.system import one_line

WIDTH = 340
"""The width of every panel, in the units of its viewBox: about as many pixels on a phone."""
TOP = 10.0
"""Where the vertical axis of a panel ends."""
APART = 4.0
"""By how much neighbouring series are shifted, so that intervals at one position do not lie on each other."""

Shape = Literal["disc", "circle", "square", "diamond"]
_SHAPES: dict[Shape, Markup] = {
    "disc": Markup('<circle class="mark solid" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'),
    "circle": Markup('<circle class="mark hollow" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'),
    "square": Markup('<path class="mark hollow" d="M{x:.1f} {y:.1f}m-3.7-3.7h7.4v7.4h-7.4z"/>'),
    "diamond": Markup('<path class="mark hollow" d="M{x:.1f} {y:.1f}m0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z"/>'),
}
ROLE_SHAPES: dict[Role, Shape] = {
    Role.TARGET_BASE: "circle",
    Role.RECYCLED: "disc",
    Role.SOURCE_TUNED: "square",
    Role.TARGET_TUNED: "diamond",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear scale: values from `low` to `high` lie between two positions in a panel."""

    low: float
    high: float
    start: float
    """Position of `low`."""
    stop: float
    """Position of `high`."""

    def at(self, value: float) -> float:
        """The position of a value."""
        return self.start + (self.stop - self.start) * (value - self.low) / ((self.high - self.low) or 1.0)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Scores of one kind of model along an axis."""

    name: str
    shape: Shape
    points: tuple[tuple[float, Estimate], ...]
    """Position and score, from left to right."""
    curve: str = ""
    """CSS classes of the line that joins them; empty for those of the shape."""

    @property
    def is_strong(self) -> bool:
        """Whether it is the one that the report is about."""
        return self.shape == "disc"

    @property
    def key(self) -> Markup:
        """The sign of the series, for a legend."""
        return key(self.shape)


def key(shape: Shape) -> Markup:
    """A sign on its own, to stand beside a name."""
    return Markup('<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{}</svg>').format(_sign(shape, 7, 7))


def score_panel(name: str, rows: Sequence[tuple[Role, Estimate]]) -> Markup:
    """Scores of every model on one task, with 95 % intervals, on an axis from 0 to 100 %."""
    top, step = 6.0, 25.0
    bottom = top + step * len(rows)
    across = Axis(low=0.0, high=1.0, start=122.0, stop=WIDTH - 52.0)
    body = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = across.at(share)
        body += [_line(x, top, x, bottom, "grid"), _text(x, bottom + 15, f"{100 * share:.0f}", "middle", "tick")]
    for index, (role, score) in enumerate(rows):
        y, strong = top + step * (index + 0.5), " strong" if role is Role.RECYCLED else ""
        body += [
            _text(across.start - 12, y + 4, role.capitalize(), "end", f"name{strong}"),
            _line(across.at(score.low), y, across.at(score.high), y, f"range{strong}"),
            _sign(ROLE_SHAPES[role], across.at(score.value), y),
            _text(WIDTH - 2, y + 4, percent(score.value), "end", f"value{strong}"),
        ]
    found = "; ".join(f"{role} {percent(s.value)} % ({percent(s.low)} to {percent(s.high)} %)" for role, s in rows)
    return _panel(f"Scores on {one_line(name)} with 95 % intervals", found, bottom + 22, body)


def series_panel(
    name: str, series: Sequence[Series], ticks: Sequence[tuple[float, str]], axis: str = "", *, apart: float = APART
) -> Markup:
    """Scores along an axis with 95 % intervals, joined by lines.

    Args:
        name: what is scored.
        series: at least one, with at least one point; the strong one is drawn on top.
        ticks: position and label of what is marked on the horizontal axis.
        axis: what the positions are, below their labels.
        apart: by how much neighbouring series are shifted.
    """
    left, right, bottom = 46.0, WIDTH - 14.0, 178.0
    positions = [*(x for each in series for x, _ in each.points), *(x for x, _ in ticks)]
    across = Axis(low=min(positions), high=max(positions), start=left + 16, stop=right - 16)
    scores = [score for each in series for _, score in each.points]
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    up, body = _value_axis(low, high, left, right, bottom, as_percent=True)
    body += [_text(across.at(x), bottom + 17, label, "middle", "tick") for x, label in ticks]
    for index, each in sorted(enumerate(series), key=lambda pair: pair[1].is_strong):
        shift, strong = apart * (index - (len(series) - 1) / 2), " strong" if each.is_strong else ""
        points = [(across.at(x) + shift, score) for x, score in each.points]
        curve = each.curve or ("curve" if each.is_strong else f"curve plain {each.shape}")
        body.append(_curve([(x, up.at(score.value)) for x, score in points], curve))
        body += [_line(x, up.at(score.low), x, up.at(score.high), f"range{strong}") for x, score in points]
        body += [_sign(each.shape, x, up.at(score.value)) for x, score in points]
    if axis:
        body.append(_text((left + right) / 2, bottom + 35, axis, "middle", "tick"))
    found = "; ".join(
        f"{one_line(each.name)}: {', '.join(f'{percent(score.value)} %' for _, score in each.points)}"
        for each in series
    )
    return _panel(f"Scores on {one_line(name)} with 95 % intervals", found, bottom + (42 if axis else 24), body)


def loss_panel(line: ConnectivityLine) -> Markup:
    """Loss along the line between the bases, over α, with the straight line that a barrier rises above."""
    left, right, bottom = 46.0, WIDTH - 14.0, 138.0
    across = Axis(low=0.0, high=1.0, start=left + 30, stop=right - 30)
    up, body = _value_axis(min(0.0, *line.losses), max(line.losses), left, right, bottom, as_percent=False)
    pairs = list(zip(line.shares, line.losses, strict=True))
    points = [(across.at(share), up.at(loss)) for share, loss in pairs]
    body += [_line(*points[0], *points[-1], "range"), _curve(points), *(_dot(x, y) for x, y in points)]
    body += [
        _text(across.start, bottom + 17, "source base", "middle", "tick"),
        _text(across.stop, bottom + 17, "target base", "middle", "tick"),
    ]
    found = ", ".join(f"{loss:.2f} at α = {share:g}" for share, loss in pairs)
    return _panel("Loss along the line between the bases", found, bottom + 24, body)


def layer_panel(caption: str, names: Sequence[str], values: Sequence[float], *, as_percent: bool) -> Markup:
    """One figure by layer, from the embeddings to the head, on a linear axis that includes 0.

    Args:
        caption: what the figure is.
        names: of the layers, as `layers.by_layer` gives them; at least one.
        values: as many.
        as_percent: label the axis in percent.
    """
    left, right, bottom = 46.0, WIDTH - 10.0, 138.0
    up, body = _value_axis(min(0.0, *values), max(0.0, *values), left, right, bottom, as_percent=as_percent)
    positions = _layer_positions(names, left + 14, right - 14)
    points = [(name, x, up.at(value)) for name, x, value in zip(names, positions, values, strict=True)]
    body.append(_curve([(x, y) for name, x, y in points if not _is_end(name)]))
    radius = 1.9 if len(names) > 40 else 3.2
    body += [_dot(x, y, radius, "end" if _is_end(name) else "solid") for name, x, y in points]
    every = next((step for step in (1, 2, 4, 5, 10, 20, 50) if len(names) / step <= 9), 100)
    body += [
        _text(x, bottom + 17, name, "middle", "tick")
        for name, x, _ in points
        if _is_end(name) or int(name) % every == 0
    ]
    found = f"{len(names)} points, {names[0]} to {names[-1]}, between {min(values):.3g} and {max(values):.3g}"
    return _panel(f"{caption} by layer", found, bottom + 24, body)


def nearness_panel(name: str, found: Sequence[tuple[float, float]]) -> Markup:
    """What each transfer of a grid keeps, by how far apart its bases are.

    Args:
        name: what is scored.
        found: distance and kept share of each transfer, at least one.
    """
    left, right, bottom = 50.0, WIDTH - 14.0, 178.0
    distances, shares = [x for x, _ in found], [y for _, y in found]
    ticks = nice_ticks(0.0, max(distances))
    across = Axis(low=0.0, high=ticks[-1], start=left, stop=right)
    up, body = _value_axis(min(0.0, *shares), max(1.0, *shares), left, right, bottom, as_percent=True)
    for tick, label in zip(ticks, tick_labels(ticks, as_percent=True), strict=True):
        body.append(_text(across.at(tick), bottom + 17, label, "middle", "tick"))
    body += [_sign("circle", across.at(x), up.at(y)) for x, y in found]
    body.append(_text((left + right) / 2, bottom + 35, "distance of the bases", "middle", "tick"))
    spans = f"distances {min(distances):.3g} to {max(distances):.3g}, kept {min(shares):.3g} to {max(shares):.3g}"
    title = f"Share of the gain that was kept on {one_line(name)}"
    return _panel(title, f"{len(found)} transfers, {spans}", bottom + 42, body)


def nice_ticks(low: float, high: float) -> list[float]:
    """Round, evenly spaced numbers from at most `low` to at least `high`, in about four steps; at least two."""
    rough = (high - low or 1.0) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def tick_labels(ticks: Sequence[float], *, as_percent: bool) -> list[str]:
    """A label for each tick, with just the digits that tell the labels apart."""
    shown = [100 * tick if as_percent else tick for tick in ticks]
    step = f"{shown[1] - shown[0]:.3g}"
    if "e" in step:
        labels = [f"{value:.3g}" for value in shown]
    else:
        digits = len(step.partition(".")[2])
        labels = [f"{value:.{digits}f}" for value in shown]
    return [label.replace("-", "−") + (" %" if as_percent else "") for label in labels]


def _value_axis(
    low: float, high: float, left: float, right: float, bottom: float, *, as_percent: bool
) -> tuple[Axis, list[Markup]]:
    """A vertical axis that shows all from `low` to `high`, and its lines across the panel with their labels."""
    ticks = nice_ticks(low, high)
    up, drawn = Axis(low=ticks[0], high=ticks[-1], start=bottom, stop=TOP), []
    for tick, label in zip(ticks, tick_labels(ticks, as_percent=as_percent), strict=True):
        y = up.at(tick)
        drawn.append(
            _line(left, y, right, y, "grid" if tick else "zero") + _text(left - 6, y + 4, label, "end", "tick")
        )
    return up, drawn


def _is_end(name: str) -> bool:
    return name in (EMBEDDING, HEAD)


def _layer_positions(names: Sequence[str], left: float, right: float) -> list[float]:
    """Layers evenly spaced, the embeddings at `left` and the head at `right` set apart from them."""
    apart = 36.0
    start = left + apart if EMBEDDING in names else left
    stop = right - apart if HEAD in names else right
    inner = sum(not _is_end(name) for name in names)
    spaced = iter([start + (stop - start) * ((index / (inner - 1)) if inner > 1 else 0.5) for index in range(inner)])
    return [left if name == EMBEDDING else right if name == HEAD else next(spaced) for name in names]


def _panel(title: str, description: str, height: float, body: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}: {}"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(WIDTH, int(height), title, description, title, description, Markup("").join(body))


def _sign(shape: Shape, x: float, y: float) -> Markup:
    return _SHAPES[shape].format(x=x, y=y)


def _dot(x: float, y: float, radius: float = 3.2, kind: str = "solid") -> Markup:
    return Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)


def _curve(points: Sequence[tuple[float, float]], kind: str = "curve") -> Markup:
    """Straight lines from point to point; nothing for no points."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Markup('<path class="{}" d="M{}"/>').format(kind, path) if points else Markup("")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, text)
