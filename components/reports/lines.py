"""Scores along an axis, a line for each kind of model."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.judging import Estimate, percent
from components.reports import svg
from components.system import one_line

APART = 4.0
"""By how much neighbouring lines are shifted, so that intervals at one place do not lie on each other."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of model along the axis."""

    name: str
    shape: svg.Shape
    points: tuple[tuple[float, Estimate], ...]
    """Position and score, from left to right."""

    @property
    def is_strong(self) -> bool:
        """Whether it is the one that the report is about."""
        return self.shape == "disc"

    @property
    def key(self) -> Markup:
        """Its sign, for a legend."""
        return svg.key(self.shape)


def line_panel(title: str, lines: Sequence[Line], ticks: Sequence[tuple[float, str]], axis: str = "") -> Markup:
    """Scores with 95 % intervals, joined by lines.

    Args:
        title: what is scored.
        lines: at least one, with at least one point; the strong one is drawn on top.
        ticks: position and label of what is marked on the horizontal axis.
        axis: what the positions are, below their labels.
    """
    left, right, top, bottom = 46.0, svg.WIDTH - 14.0, 10.0, 178.0
    scores = [score for line in lines for _, score in line.points]
    places = [*(x for line in lines for x, _ in line.points), *(x for x, _ in ticks)]
    marks = svg.nice_ticks(min(score.low for score in scores), max(score.high for score in scores))
    low, high = max(0.0, marks[0]), min(1.0, marks[-1])

    def across(x: float) -> float:
        inset = 16.0
        share = (x - min(places)) / ((max(places) - min(places)) or 1.0)
        return left + inset + (right - left - 2 * inset) * share

    def up(score: float) -> float:
        return bottom - (bottom - top) * (score - low) / (high - low)

    shown = [tick for tick in marks if low - 1e-9 <= tick <= high + 1e-9]
    labels = svg.tick_labels(shown, as_percent=True)
    body = [svg.value_tick(up(tick), left, right, tick, label) for tick, label in zip(shown, labels, strict=True)]
    body += [svg.text(across(x), bottom + 17, label, "middle", "tick") for x, label in ticks]
    for index, line in sorted(enumerate(lines), key=lambda pair: pair[1].is_strong):
        shift = APART * (index - (len(lines) - 1) / 2)
        body += _drawn(line, [(across(x) + shift, up(s.value), up(s.low), up(s.high)) for x, s in line.points])
    if axis:
        body.append(svg.text((left + right) / 2, bottom + 35, axis, "middle", "tick"))
    found = "; ".join(_told(line) for line in lines)
    return svg.panel(f"Scores on {one_line(title)} with 95 % intervals", found, bottom + (42 if axis else 24), body)


def _drawn(line: Line, points: Sequence[tuple[float, float, float, float]]) -> list[Markup]:
    strong = " strong" if line.is_strong else ""
    dashes = "" if line.is_strong else f" plain {line.shape}"
    return [
        svg.curve([(x, y) for x, y, _, _ in points], f"curve{dashes}"),
        *(svg.line(x, low, x, high, f"range{strong}") for x, _, low, high in points),
        *(svg.mark(line.shape, x, y) for x, y, _, _ in points),
    ]


def _told(line: Line) -> str:
    return f"{one_line(line.name)}: {', '.join(f'{percent(score.value)} %' for _, score in line.points)}"
