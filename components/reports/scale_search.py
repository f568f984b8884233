"""The report on a search of λ: the score over λ, and which is chosen."""

from components.judging import ScaleChoice, interval, percent, points
from components.reports.plots import Series, series_panel
from components.reports.publish import Report
from components.reports.rendering import render


def report_on_scale_search(choice: ScaleChoice, *, title: str) -> Report:
    """Show what each λ scores, and which one is chosen and why."""
    tasks = list(choice.main.scores.tasks)
    columns = [("Mean", None), *((task, task) for task in tasks)] if len(tasks) > 1 else [(tasks[0], None)]
    panels = [(name, "", _panel(choice, name, task)) for name, task in columns]
    return Report(
        title=title,
        html=render("scale_search.html.j2", choice=choice, title=title, tasks=tasks, panels=panels),
        rows=(
            ("λ", "mean, %", *(f"{task}, %" for task in tasks), f"− λ = {choice.main.scale:g}, points"),
            *(
                (
                    f"{each.scale:g}",
                    percent(each.scores.mean.value),
                    *(percent(each.scores.tasks[task].value) for task in tasks),
                    f"{points(each.lead.mean.value)} [{interval(each.lead.mean)}]" if each.lead else "as it was set",
                )
                for each in choice.tried
            ),
        ),
        notes=(choice.reason,),
    )


def _panel(choice: ScaleChoice, name: str, task: str | None) -> str:
    """The curve of one column; `task` is None for the mean."""
    found = [(each, each.scores.tasks[task] if task else each.scores.mean) for each in choice.tried]
    scores = tuple((each.scale, score) for each, score in found)
    chosen = tuple((each.scale, score) for each, score in found if each is choice.chosen)
    series = [
        Series(name="score", shape="circle", points=scores, curve="curve"),
        Series(name="chosen", shape="disc", points=chosen),
    ]
    return series_panel(name, series, [(scale, f"{scale:g}") for scale, _ in scores], "λ", apart=0.0)
