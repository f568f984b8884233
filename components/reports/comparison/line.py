"""The loss along the line between the bases, as a plot."""

from markupsafe import Markup

from components.forecast import ConnectivityLine
from components.reports import svg


def loss_panel(line: ConnectivityLine) -> Markup:
    """Loss over α, with the straight line between the ends that a barrier rises above."""
    left, right, top, bottom = 46.0, svg.WIDTH - 14.0, 10.0, 138.0
    ticks = svg.nice_ticks(min(0.0, *line.losses), max(line.losses))

    def across(share: float) -> float:
        return left + 30 + (right - left - 60) * share

    def up(loss: float) -> float:
        return bottom - (bottom - top) * (loss - ticks[0]) / (ticks[-1] - ticks[0])

    labels = svg.tick_labels(ticks, as_percent=False)
    points = [(across(share), up(loss)) for share, loss in zip(line.shares, line.losses, strict=True)]
    body = [svg.value_tick(up(tick), left, right, tick, label) for tick, label in zip(ticks, labels, strict=True)]
    body += [svg.line(*points[0], *points[-1], "range"), svg.curve(points)]
    body += [Markup('<circle class="mark solid" cx="{:.1f}" cy="{:.1f}" r="3.2"/>').format(x, y) for x, y in points]
    body += [
        svg.text(across(0), bottom + 17, "source base", "middle", "tick"),
        svg.text(across(1), bottom + 17, "target base", "middle", "tick"),
    ]
    found = ", ".join(f"{loss:.2f} at α = {share:g}" for share, loss in zip(line.shares, line.losses, strict=True))
    return svg.panel("Loss along the line between the bases", found, bottom + 24, body)
