"""The plot of a grid: what transfers keep, by how far apart the bases are."""

from collections.abc import Sequence

from markupsafe import Markup

from components.reports import svg
from components.system import one_line


def nearness_panel(title: str, found: Sequence[tuple[float, float]]) -> Markup:
    """A dot for each transfer.

    Args:
        title: what is scored.
        found: distance and kept share of each, at least one.
    """
    left, right, top, bottom = 50.0, svg.WIDTH - 14.0, 10.0, 178.0
    across, up = [x for x, _ in found], [y for _, y in found]
    x_ticks, y_ticks = svg.nice_ticks(0.0, max(across)), svg.nice_ticks(min(0.0, *up), max(1.0, *up))

    def x_of(value: float) -> float:
        return left + (right - left) * value / x_ticks[-1]

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])

    y_labels, x_labels = svg.tick_labels(y_ticks, as_percent=True), svg.tick_labels(x_ticks, as_percent=True)
    body = [svg.value_tick(y_of(tick), left, right, tick, name) for tick, name in zip(y_ticks, y_labels, strict=True)]
    body += [
        svg.text(x_of(tick), bottom + 17, name, "middle", "tick") for tick, name in zip(x_ticks, x_labels, strict=True)
    ]
    body += [svg.mark("circle", x_of(x), y_of(y)) for x, y in found]
    body.append(svg.text((left + right) / 2, bottom + 35, "distance of the bases", "middle", "tick"))
    spans = f"distances {min(across):.3g} to {max(across):.3g}, kept {min(up):.3g} to {max(up):.3g}"
    return svg.panel(
        f"Share of the gain that was kept on {one_line(title)}", f"{len(found)} transfers, {spans}", bottom + 42, body
    )
