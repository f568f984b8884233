"""The report on a chain of releases: HTML, Markdown, a table for a terminal, and metrics."""

from components.judging import GateDecision, interval, percent, points
from components.judging.chain import Cells, Chain, Stage
from components.reports import rendering, svg
from components.reports.lines import Line, line_panel
from components.reports.text import aligned
from components.system import one_line

KINDS: dict[str, tuple[str, svg.Shape]] = {
    "tuned": ("fine-tuned along the chain", "disc"),
    "transferred": ("with the change of the release before, no training", "square"),
    "direct": ("fine-tuned directly", "diamond"),
    "base": ("bare release", "circle"),
}
"""Name for people and sign of each kind of model, by its field in `Stage`."""


def render_html(chain: Chain, gate: GateDecision) -> str:
    """One page that asks for nothing outside itself and runs no script."""
    ticks = [(float(index), _tick(stage.label)) for index, stage in enumerate(chain.stages)]
    panels = [
        (column, line_panel(one_line(column.name), _lines(chain, index), ticks))
        for index, column in enumerate(chain.columns)
    ]
    template = rendering.html().get_template("chain.html.j2")
    return template.render(chain=chain, gate=gate, title=title(chain), lines=_lines(chain, 0), panels=panels)


def render_markdown(chain: Chain, gate: GateDecision) -> str:
    """The same content, with a table for the plots."""
    template = rendering.markdown().get_template("chain.md.j2")
    return template.render(chain=chain, gate=gate, title=title(chain))


def title(chain: Chain) -> str:
    """What the chain goes over."""
    return f"Along the releases: {chain.stages[0].label} to {chain.stages[-1].label}"


def table_text(chain: Chain) -> str:
    """The mean scores for a terminal."""
    head = [
        "Mean score, %",
        "bare",
        "transferred",
        "fine-tuned from there",
        "directly",
        "from there − directly, points",
    ]
    return aligned([head, *(_text_row(stage) for stage in chain.stages)])


def metrics(chain: Chain) -> dict[str, float]:
    """What pipeline runs are compared by, in score units."""
    found = {}
    for number, stage in enumerate(chain.stages, start=1):
        for kind in KINDS:
            values: Cells | None = getattr(stage, kind)
            if values:
                found[f"score {kind} {number}"] = values[0].value
    return found


def _lines(chain: Chain, column: int) -> list[Line]:
    lines = []
    for kind, (name, shape) in KINDS.items():
        values: list[Cells | None] = [getattr(stage, kind) for stage in chain.stages]
        placed = tuple((float(index), cells[column]) for index, cells in enumerate(values) if cells)
        if placed:
            lines.append(Line(name=name, shape=shape, points=placed))
    return lines


def _tick(label: str, longest: int = 11) -> str:
    label = one_line(label)
    return label if len(label) <= longest else f"…{label[1 - longest :]}"


def _text_row(stage: Stage) -> list[str]:
    lead = f"{points(stage.over_direct[0].value)} [{interval(stage.over_direct[0])}]" if stage.over_direct else "–"
    kinds = (stage.base, stage.transferred, stage.tuned, stage.direct)
    return [one_line(stage.label), *(percent(cells[0].value) if cells else "–" for cells in kinds), lead]
