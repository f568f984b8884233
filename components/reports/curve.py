"""The curve of a search: score over λ."""

from markupsafe import Markup

from components.judging import Choice, Estimate, Point, percent
from components.reports import svg
from components.system import one_line


def curve_panel(name: str, choice: Choice, task: str | None) -> Markup:
    """Scores with 95 % intervals over λ; the chosen point is solid.

    Args:
        name: of the column.
        choice: has at least two points.
        task: of which the scores are, None for the mean.
    """
    left, right, top, bottom = 46.0, svg.WIDTH - 14.0, 10.0, 168.0
    found = [(point, _estimate(point, task)) for point in choice.points]
    ticks = svg.nice_ticks(min(score.low for _, score in found), max(score.high for _, score in found))
    first, last = found[0][0].scale, found[-1][0].scale

    def across(scale: float) -> float:
        return left + 16 + (right - left - 32) * (scale - first) / (last - first)

    def up(score: float) -> float:
        return bottom - (bottom - top) * (score - ticks[0]) / (ticks[-1] - ticks[0])

    labels = svg.tick_labels(ticks, as_percent=True)
    body = [svg.value_tick(up(tick), left, right, tick, label) for tick, label in zip(ticks, labels, strict=True)]
    body.append(svg.curve([(across(point.scale), up(score.value)) for point, score in found]))
    for point, score in found:
        x, strong = across(point.scale), " strong" if point is choice.chosen else ""
        body += [
            svg.line(x, up(score.low), x, up(score.high), f"range{strong}"),
            _mark(x, up(score.value), solid=bool(strong)),
            svg.text(x, bottom + 17, f"{point.scale:g}", "middle", f"tick{strong}"),
        ]
    body.append(svg.text((left + right) / 2, bottom + 34, "λ", "middle", "tick"))
    told = "; ".join(f"λ {point.scale:g}: {percent(score.value)} %" for point, score in found)
    return svg.panel(f"{one_line(name)} over λ with 95 % intervals", told, bottom + 40, body)


def _estimate(point: Point, task: str | None) -> Estimate:
    return point.scores.mean if task is None else point.scores.tasks[task]


def _mark(x: float, y: float, *, solid: bool) -> Markup:
    kind, radius = ("solid", 5) if solid else ("hollow", 4)
    return Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)
