"""The plots of a comparison: a panel for each task, and one for each figure by layer."""

from collections.abc import Sequence

from markupsafe import Markup

from components.judging import Estimate, percent
from components.reports import svg
from components.reports.comparison.inputs import Role
from components.reports.comparison.layers import EMBEDDING, HEAD
from components.system import one_line

_SHAPES: dict[Role, svg.Shape] = {
    "target base": "circle",
    "recycled": "disc",
    "source fine-tuned": "square",
    "target fine-tuned": "diamond",
}


def marker(role: Role) -> Markup:
    """The sign of a role, to stand beside its name in a table."""
    return svg.key(_SHAPES[role])


def score_panel(name: str, rows: Sequence[tuple[Role, Estimate]]) -> Markup:
    """Scores of every model on one task, with 95 % intervals, on an axis from 0 to 100 %."""
    left, right, top, step = 122.0, svg.WIDTH - 52.0, 6.0, 25.0
    bottom = top + step * len(rows)

    def across(score: float) -> float:
        return left + (right - left) * score

    body = [_score_tick(across(share), top, bottom, share) for share in (0, 0.25, 0.5, 0.75, 1)]
    for index, (role, score) in enumerate(rows):
        y = top + step * (index + 0.5)
        strong = " strong" if role == "recycled" else ""
        body += [
            svg.text(left - 12, y + 4, role.capitalize(), "end", f"name{strong}"),
            svg.line(across(score.low), y, across(score.high), y, f"range{strong}"),
            svg.mark(_SHAPES[role], across(score.value), y),
            svg.text(svg.WIDTH - 2, y + 4, percent(score.value), "end", f"value{strong}"),
        ]
    found = "; ".join(f"{role} {percent(s.value)} % ({percent(s.low)} to {percent(s.high)} %)" for role, s in rows)
    return svg.panel(f"Scores on {one_line(name)} with 95 % intervals", found, bottom + 22, body)


def layer_panel(caption: str, names: Sequence[str], values: Sequence[float], *, as_percent: bool) -> Markup:
    """One figure by layer, from the embeddings to the head, on a linear axis that includes 0.

    Args:
        caption: what the figure is.
        names: of the layers, as `layers.by_layer` gives them; at least one.
        values: as many.
        as_percent: label the axis in percent.
    """
    left, right, top, bottom = 46.0, svg.WIDTH - 10.0, 10.0, 138.0
    ticks = svg.nice_ticks(min(0.0, *values), max(0.0, *values))

    def up(value: float) -> float:
        return bottom - (bottom - top) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    labels = svg.tick_labels(ticks, as_percent=as_percent)
    body = [svg.value_tick(up(tick), left, right, tick, label) for tick, label in zip(ticks, labels, strict=True)]
    positions = _positions(names, left + 14, right - 14)
    points = [(name, x, up(value)) for name, x, value in zip(names, positions, values, strict=True)]
    body.append(svg.curve([(x, y) for name, x, y in points if not _is_end(name)]))
    body += [_point(x, y, hollow=_is_end(name), small=len(names) > 40) for name, x, y in points]
    every = _label_step(len(names))
    body += [
        svg.text(x, bottom + 17, name, "middle", "tick")
        for name, x, _ in points
        if _is_end(name) or int(name) % every == 0
    ]
    found = f"{len(names)} points, {names[0]} to {names[-1]}, between {min(values):.3g} and {max(values):.3g}"
    return svg.panel(f"{caption} by layer", found, bottom + 24, body)


def _is_end(name: str) -> bool:
    return name in (EMBEDDING, HEAD)


def _positions(names: Sequence[str], left: float, right: float) -> list[float]:
    """Layers evenly spaced, the embeddings at `left` and the head at `right` set apart from them."""
    apart = 36.0
    start = left + apart if EMBEDDING in names else left
    stop = right - apart if HEAD in names else right
    inner = sum(not _is_end(name) for name in names)
    spaced = iter([start + (stop - start) * ((index / (inner - 1)) if inner > 1 else 0.5) for index in range(inner)])
    return [left if name == EMBEDDING else right if name == HEAD else next(spaced) for name in names]


def _label_step(count: int, most: int = 9) -> int:
    """Which layers are named so that their names stay apart: every so-many-eth."""
    return next((step for step in (1, 2, 4, 5, 10, 20, 50) if count / step <= most), 100)


def _score_tick(x: float, top: float, bottom: float, share: float) -> Markup:
    return svg.line(x, top, x, bottom, "grid") + svg.text(x, bottom + 15, f"{100 * share:.0f}", "middle", "tick")


def _point(x: float, y: float, *, hollow: bool, small: bool) -> Markup:
    kind = "end" if hollow else "solid"
    return Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, 1.9 if small else 3.2)
