"""The report on training lengths: HTML, Markdown, a table for a terminal, and metrics."""

from markupsafe import Markup

from components.judging import Column, interval, percent, points
from components.judging.saved_steps import Figures
from components.reports import rendering
from components.reports.lines import Line, line_panel
from components.reports.text import aligned
from components.system import one_line

RECYCLED, DIRECT = "from the recycled model", "from the target base"


def render_html(found: Figures) -> str:
    """One page that asks for nothing outside itself and runs no script."""
    template = rendering.html().get_template("lengths.html.j2")
    return template.render(
        found=found, title=found.title, said=saved_text(found), lines=_lines(found, 0), panels=_panels(found)
    )


def render_markdown(found: Figures) -> str:
    """The same content, with a table for the plots."""
    return rendering.markdown().get_template("lengths.md.j2").render(found=found, said=saved_text(found))


def table_text(found: Figures) -> str:
    """The mean scores for a terminal."""
    head = ["Mean score, %", "after steps", "recycled start", "target base", "recycled − direct, points"]
    rows = [
        [
            "",
            str(row.steps),
            percent(row.recycled[0].value),
            percent(row.target_base[0].value),
            f"{points(row.against_whole[0].value)} [{interval(row.against_whole[0])}]",
        ]
        for row in found.rows
    ]
    return f"{aligned([head, *rows])}\n{saved_text(found)}\n"


def saved_text(found: Figures) -> str:
    """The steps saved, as a sentence."""
    saving, whole = found.saving, found.rows[-1].steps
    goal = f"{percent(saving.goal)} %, the directly fine-tuned model’s score after all {whole} steps"
    if saving.recycled is None:
        return f"The recycled start does not reach {goal}: no training steps saved."
    direct, recycled = round(saving.direct), round(saving.recycled)
    outcome = f"{direct - recycled} training steps saved" if direct >= recycled else "no training steps saved"
    if recycled == 0:
        return (
            f"The recycled model has {goal}, before any training; the target base reaches it after {direct}: {outcome}."
        )
    return f"The recycled start reaches {goal}, after {recycled}, the target base after {direct}: {outcome}."


def metrics(found: Figures) -> dict[str, float]:
    """What pipeline runs are compared by, in score units and steps."""
    saving, last = found.saving, found.rows[-1]
    return {
        "training steps saved": saving.saved,
        "share of training saved": saving.share,
        "reached the direct fine-tune": float(saving.recycled is not None),
        "score recycled then fine-tuned": last.recycled[0].value,
        "score directly fine-tuned": last.target_base[0].value,
        "score recycled": found.rows[0].recycled[0].value,
        "score target base": found.rows[0].target_base[0].value,
    }


def curves(found: Figures) -> list[tuple[int, dict[str, float]]]:
    """Both mean scores by training steps."""
    return [
        (row.steps, {"score from recycled": row.recycled[0].value, "score from target base": row.target_base[0].value})
        for row in found.rows
    ]


def _panels(found: Figures) -> list[tuple[Column, Markup]]:
    ticks = [(float(row.steps), str(row.steps)) for row in found.rows]
    return [
        (column, line_panel(one_line(column.name), _lines(found, index), _apart(ticks), "training steps"))
        for index, column in enumerate(found.columns)
    ]


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those whose labels do not run into each other."""
    room = ticks[-1][0] / 11
    shown = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if shown[-1][0] - tick[0] >= room:
            shown.append(tick)
    return shown[::-1]


def _lines(found: Figures, column: int) -> list[Line]:
    recycled = tuple((float(row.steps), row.recycled[column]) for row in found.rows)
    direct = tuple((float(row.steps), row.target_base[column]) for row in found.rows)
    return [
        Line(name=RECYCLED, shape="disc", points=recycled),
        Line(name=DIRECT, shape="circle", points=direct),
    ]
