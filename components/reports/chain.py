"""The report on a chain of releases."""

from components.judging import Cells, Chain, ChainStage, GateDecision, interval, percent, points
from components.reports.plots import Series, Shape, series_panel
from components.reports.publish import Report
from components.reports.rendering import render
from components.system import one_line

KINDS: dict[str, tuple[str, Shape]] = {
    "tuned": ("fine-tuned along the chain", "disc"),
    "transferred": ("with the change of the release before, no training", "square"),
    "direct": ("fine-tuned directly", "diamond"),
    "base": ("bare release", "circle"),
}
"""Name for people and sign of each kind of model, by its field in `ChainStage`."""

LONGEST_TICK = 11
"""Characters of a release's label under the plots."""
HEAD = ("Mean score, %", "bare", "transferred", "fine-tuned from there", "directly", "from there − directly, points")


def report_on_chain(chain: Chain, gate: GateDecision) -> Report:
    """Show what every release of the chain scores, and whether its newest model passes."""
    title = f"Along the releases: {chain.stages[0].label} to {chain.stages[-1].label}"
    ticks = [(float(index), _tick(stage.label)) for index, stage in enumerate(chain.stages)]
    panels = [
        (column.name, column.description, series_panel(column.name, _series(chain, index), ticks))
        for index, column in enumerate(chain.columns)
    ]
    return Report(
        title=title,
        html=render("chain.html.j2", chain=chain, gate=gate, title=title, series=_series(chain, 0), panels=panels),
        rows=(HEAD, *(_row(stage) for stage in chain.stages)),
        gate=gate,
        metrics={
            f"score {kind} {number}": values[0].value
            for number, stage in enumerate(chain.stages, start=1)
            for kind in KINDS
            if (values := _cells(stage, kind))
        },
    )


def _cells(stage: ChainStage, kind: str) -> Cells | None:
    found: Cells | None = getattr(stage, kind)
    return found


def _series(chain: Chain, column: int) -> list[Series]:
    series = []
    for kind, (name, shape) in KINDS.items():
        found = [(float(index), _cells(stage, kind)) for index, stage in enumerate(chain.stages)]
        points = tuple((position, cells[column]) for position, cells in found if cells)
        if points:
            series.append(Series(name=name, shape=shape, points=points))
    return series


def _tick(label: str) -> str:
    """The label, or its end where it is too long to stand beside others."""
    label = one_line(label)
    return label if len(label) <= LONGEST_TICK else f"…{label[1 - LONGEST_TICK :]}"


def _row(stage: ChainStage) -> tuple[str, ...]:
    lead = f"{points(stage.over_direct[0].value)} [{interval(stage.over_direct[0])}]" if stage.over_direct else "–"
    kinds = (stage.base, stage.transferred, stage.tuned, stage.direct)
    return (stage.label, *(percent(cells[0].value) if cells else "–" for cells in kinds), lead)
