"""The report on a grid: each fine-tune on each base."""

from markupsafe import Markup

from components.judging import GridScores, percent
from components.reports.plots import nearness_panel
from components.reports.publish import Report
from components.reports.rendering import render

DARKEST = 50.0
"""Of the accent colour, in %, behind the best score of a map: text stays readable on it in either colour scheme."""


def report_on_grid(grid: GridScores) -> Report:
    """Show what each base's weight change does on each other base."""
    title = f"Every fine-tune on every base: {grid.labels[0]} to {grid.labels[-1]}"
    said = conclusion(grid)
    return Report(
        title=title,
        html=render(
            "grid.html.j2",
            found=grid,
            title=title,
            shades=[_shades(grid, index) for index in range(len(grid.columns))],
            panels=_panels(grid),
            conclusion=said,
        ),
        rows=_rows(grid),
        notes=("In brackets: the base's own fine-tune.", said),
        metrics=_metrics(grid),
    )


def conclusion(grid: GridScores) -> str:
    """What the figures say of distance, for the mean score."""
    nearness = grid.nearness(0)
    if nearness.correlation is None:
        return "Too few transfers, or ones too much alike, to say whether nearness helps."
    if nearness.correlation <= -0.3:
        words = "Nearer bases keep more of the gain"
    elif nearness.correlation >= 0.3:
        words = "Nearer bases do not keep more of the gain, they keep less"
    else:
        words = "Whether bases are near or far says little about how much of the gain is kept"
    return (
        f"{words}: Spearman’s correlation of distance and kept share is {_signed(nearness.correlation)} over "
        f"{nearness.pairs} transfers, which share their models and so are fewer than they seem."
    )


def _rows(grid: GridScores) -> list[list[str]]:
    rows = [["Mean score, %: Δ of \\ onto", *grid.labels]]
    rows.append(["none (bare)", *(percent(grid.bare[target][0].value) for target in grid.labels)])
    for source in grid.labels:
        cells = [
            f"({percent(grid.own[source][0].value)})"
            if source == target
            else f"{percent(grid.cells[source, target].score[0].value)} "
            for target in grid.labels
        ]
        rows.append([source, *cells])
    return rows


def _metrics(grid: GridScores) -> dict[str, float]:
    """Scores in score units, shares, and the correlation where there is one."""
    values = {f"score bare {label}": grid.bare[label][0].value for label in grid.labels}
    values |= {f"score {label} onto {label}": grid.own[label][0].value for label in grid.labels}
    for (source, target), cell in grid.cells.items():
        values[f"score {source} onto {target}"] = cell.score[0].value
        if cell.kept[0] is not None:
            values[f"kept {source} onto {target}"] = cell.kept[0]
    correlation, kept = grid.nearness(0).correlation, grid.mean_kept(0)
    values |= {"correlation of distance and kept share": correlation} if correlation is not None else {}
    return values | ({"mean kept share": kept} if kept is not None else {})


def _shades(grid: GridScores, column: int) -> dict[tuple[str, str], str]:
    """How dark each cell of a map is, from its lowest to its highest score; sources are labels, or empty for none."""
    scores = {("", label): grid.bare[label][column].value for label in grid.labels}
    scores |= {(label, label): grid.own[label][column].value for label in grid.labels}
    scores |= {pair: cell.score[column].value for pair, cell in grid.cells.items()}
    low, high = min(scores.values()), max(scores.values())
    return {pair: f"{DARKEST * (score - low) / ((high - low) or 1.0):.1f}%" for pair, score in scores.items()}


def _panels(grid: GridScores) -> list[tuple[str, str, Markup]]:
    panels = []
    for index, column in enumerate(grid.columns):
        dots = [(cell.distance, kept) for cell in grid.cells.values() if (kept := cell.kept[index]) is not None]
        if dots:
            correlation = grid.nearness(index).correlation
            said = "none can be told" if correlation is None else _signed(correlation)
            panels.append((column.name, f"Spearman’s correlation: {said}", nearness_panel(column.name, dots)))
    return panels


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
