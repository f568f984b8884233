"""The report on training lengths: how many steps the recycled start saves."""

from components.judging import TrainingLengths, interval, percent, points
from components.reports.plots import Series, series_panel
from components.reports.publish import Report
from components.reports.rendering import render

RECYCLED, DIRECT = "from the recycled model", "from the target base"
HEAD = ("After training steps", "recycled start, %", "target base, %", "recycled − direct, points")


def report_on_saved_steps(found: TrainingLengths, *, title: str) -> Report:
    """Show what is reached after how many training steps from either start, and the steps saved."""
    saved = saved_text(found)
    ticks = _apart([(float(row.steps), str(row.steps)) for row in found.rows])
    panels = [
        (column.name, column.description, series_panel(column.name, _series(found, index), ticks, "training steps"))
        for index, column in enumerate(found.columns)
    ]
    series = _series(found, 0)
    return Report(
        title=title,
        html=render("saved_steps.html.j2", found=found, title=title, saved=saved, series=series, panels=panels),
        rows=(
            HEAD,
            *(
                (
                    str(row.steps),
                    percent(row.recycled[0].value),
                    percent(row.target_base[0].value),
                    f"{points(row.against_full[0].value)} [{interval(row.against_full[0])}]",
                )
                for row in found.rows
            ),
        ),
        gate=found.gate,
        notes=(saved,),
        metrics=_metrics(found),
    )


def curves(found: TrainingLengths) -> list[tuple[int, dict[str, float]]]:
    """Training steps, and both mean scores after them."""
    return [
        (row.steps, {"score from recycled": row.recycled[0].value, "score from target base": row.target_base[0].value})
        for row in found.rows
    ]


def saved_text(found: TrainingLengths) -> str:
    """The steps saved, as a sentence."""
    saving, every = found.saving, found.rows[-1].steps
    goal = f"{percent(saving.goal)} %, the directly fine-tuned model’s score after all {every} steps"
    if saving.recycled is None:
        return f"The recycled start does not reach {goal}: no training steps saved."
    direct, recycled = round(saving.direct), round(saving.recycled)
    outcome = f"{direct - recycled} training steps saved" if direct >= recycled else "no training steps saved"
    if recycled == 0:
        return (
            f"The recycled model has {goal}, before any training; the target base reaches it after {direct}: {outcome}."
        )
    return f"The recycled start reaches {goal}, after {recycled}, the target base after {direct}: {outcome}."


def _metrics(found: TrainingLengths) -> dict[str, float]:
    saving, first, last = found.saving, found.rows[0], found.rows[-1]
    return {
        "training steps saved": saving.saved,
        "share of training saved": saving.share,
        "reached the direct fine-tune": float(saving.recycled is not None),
        "score recycled then fine-tuned": last.recycled[0].value,
        "score directly fine-tuned": last.target_base[0].value,
        "score recycled": first.recycled[0].value,
        "score target base": first.target_base[0].value,
    }


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks whose labels do not run into each other."""
    space = ticks[-1][0] / 11
    shown = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if shown[-1][0] - tick[0] >= space:
            shown.append(tick)
    return shown[::-1]


def _series(found: TrainingLengths, column: int) -> list[Series]:
    recycled = tuple((float(row.steps), row.recycled[column]) for row in found.rows)
    direct = tuple((float(row.steps), row.target_base[column]) for row in found.rows)
    return [Series(name=RECYCLED, shape="disc", points=recycled), Series(name=DIRECT, shape="circle", points=direct)]
