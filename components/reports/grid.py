"""The report on a grid: HTML, Markdown, a table for a terminal, and metrics."""

from markupsafe import Markup

from components.judging import Column, percent
from components.judging.grid import Figures
from components.reports import rendering
from components.reports.grid_plots import nearness_panel
from components.reports.text import aligned
from components.system import one_line

DARKEST = 50.0
"""Of the accent colour, in %, behind the best score of a map: text stays readable on it in either colour scheme."""


def render_html(found: Figures) -> str:
    """One page that asks for nothing outside itself and runs no script."""
    template = rendering.html().get_template("grid.html.j2")
    return template.render(
        found=found,
        title=title(found),
        shades=[_shades(found, index) for index in range(len(found.columns))],
        panels=_panels(found),
        conclusion=conclusion(found),
    )


def render_markdown(found: Figures) -> str:
    """The same content, with tables for maps and plots."""
    template = rendering.markdown().get_template("grid.md.j2")
    return template.render(found=found, title=title(found), conclusion=conclusion(found))


def title(found: Figures) -> str:
    """What the grid goes over."""
    return f"Every fine-tune on every base: {found.labels[0]} to {found.labels[-1]}"


def conclusion(found: Figures) -> str:
    """What the figures say of distance, for the mean score."""
    nearness = found.nearness(0)
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


def table_text(found: Figures) -> str:
    """The mean scores for a terminal."""
    rows = [["Mean score, %: Δ of \\ onto", *map(one_line, found.labels)]]
    rows.append(["none (bare)", *(percent(found.bare[target][0].value) for target in found.labels)])
    for source in found.labels:
        cells = [
            f"({percent(found.own[source][0].value)})"
            if source == target
            else f"{percent(found.cells[source, target].score[0].value)} "
            for target in found.labels
        ]
        rows.append([one_line(source), *cells])
    return f"{aligned(rows)}In brackets: the base's own fine-tune. {conclusion(found)}\n"


def metrics(found: Figures) -> dict[str, float]:
    """What pipeline runs are compared by: scores in score units, shares, and the correlation where there is one."""
    values = {f"score bare {label}": found.bare[label][0].value for label in found.labels}
    values |= {f"score {label} onto {label}": found.own[label][0].value for label in found.labels}
    for (source, target), cell in found.cells.items():
        values[f"score {source} onto {target}"] = cell.score[0].value
        if cell.kept[0] is not None:
            values[f"kept {source} onto {target}"] = cell.kept[0]
    correlation, kept = found.nearness(0).correlation, found.mean_kept(0)
    values |= {"correlation of distance and kept share": correlation} if correlation is not None else {}
    return values | ({"mean kept share": kept} if kept is not None else {})


def _shades(found: Figures, column: int) -> dict[tuple[str, str], str]:
    """How dark each cell of a map is, from its lowest to its highest score; sources are labels, or empty for none."""
    scores = {("", label): found.bare[label][column].value for label in found.labels}
    scores |= {(label, label): found.own[label][column].value for label in found.labels}
    scores |= {pair: cell.score[column].value for pair, cell in found.cells.items()}
    low, high = min(scores.values()), max(scores.values())
    return {pair: f"{DARKEST * (score - low) / ((high - low) or 1.0):.1f}%" for pair, score in scores.items()}


def _panels(found: Figures) -> list[tuple[Column, str, Markup]]:
    panels = []
    for index, column in enumerate(found.columns):
        dots = [(cell.distance, kept) for cell in found.cells.values() if (kept := cell.kept[index]) is not None]
        if dots:
            correlation = found.nearness(index).correlation
            said = "none can be told" if correlation is None else _signed(correlation)
            panels.append((column, f"Spearman’s correlation: {said}", nearness_panel(column.name, dots)))
    return panels


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
