"""Plots as inline SVG: small panels of one size that a page lays side by side.

Colours and fonts are CSS classes of the page, so that a panel follows its light or dark scheme.
"""

import math
from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

WIDTH = 340
"""Of every panel, in the units of its viewBox: about as many pixels on a phone."""

Shape = Literal["disc", "circle", "square", "diamond"]
_SHAPES: dict[Shape, Markup] = {
    "disc": Markup('<circle class="mark solid" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'),
    "circle": Markup('<circle class="mark hollow" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'),
    "square": Markup('<path class="mark hollow" d="M{x:.1f} {y:.1f}m-3.7-3.7h7.4v7.4h-7.4z"/>'),
    "diamond": Markup('<path class="mark hollow" d="M{x:.1f} {y:.1f}m0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z"/>'),
}


def mark(shape: Shape, x: float, y: float) -> Markup:
    """The sign of one kind of model."""
    return _SHAPES[shape].format(x=x, y=y)


def key(shape: Shape) -> Markup:
    """A sign on its own, to stand beside a name."""
    return Markup('<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{}</svg>').format(mark(shape, 7, 7))


def panel(title: str, description: str, height: float, body: Sequence[Markup]) -> Markup:
    """A panel of WIDTH and this height, with its title and what it shows for those who cannot see it."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}: {}"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(WIDTH, int(height), title, description, title, description, Markup("").join(body))


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round, evenly spaced numbers from at most `low` to at least `high`, in some `about` steps; at least two."""
    rough = (high - low or 1.0) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def tick_labels(ticks: Sequence[float], *, as_percent: bool) -> list[str]:
    """As many labels, with just the digits that tell them apart."""
    shown = [100 * tick if as_percent else tick for tick in ticks]
    step = f"{shown[1] - shown[0]:.3g}"
    if "e" in step:
        labels = [f"{value:.3g}" for value in shown]
    else:
        digits = len(step.partition(".")[2])
        labels = [f"{value:.{digits}f}" for value in shown]
    return [label.replace("-", "−") + (" %" if as_percent else "") for label in labels]


def value_tick(y: float, left: float, right: float, value: float, label: str) -> Markup:
    """A line across the panel at a value of the vertical axis, with its label at the left."""
    return line(left, y, right, y, "grid" if value else "zero") + text(left - 6, y + 4, label, "end", "tick")


def curve(points: Sequence[tuple[float, float]], kind: str = "curve") -> Markup:
    """Straight lines from point to point, of a CSS class; nothing for no points."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Markup('<path class="{}" d="M{}"/>').format(kind, path) if points else Markup("")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A line of a CSS class."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def text(x: float, y: float, text: str, anchor: str, kind: str) -> Markup:
    """A text of a CSS class; `anchor` is start, middle or end."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, text)
