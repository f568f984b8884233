"""The search's report: one self-contained HTML page, and the same content as Markdown."""

from functools import cache

from jinja2 import Environment

from components.judging import Choice
from components.reports import rendering
from components.reports.curve import curve_panel


def render_html(choice: Choice, *, title: str) -> str:
    """A page that asks for nothing outside itself and runs no script."""
    tasks = list(choice.main.scores.tasks)
    columns = [("Mean", None), *((task, task) for task in tasks)] if len(tasks) > 1 else [(tasks[0], None)]
    panels = [(name, curve_panel(name, choice, task)) for name, task in columns]
    return _html().get_template("scale.html.j2").render(choice=choice, title=title, tasks=tasks, panels=panels)


def render_markdown(choice: Choice, *, title: str) -> str:
    """The same content with a table for the curve."""
    tasks = list(choice.main.scores.tasks)
    return _markdown().get_template("scale.md.j2").render(choice=choice, title=title, tasks=tasks)


@cache
def _html() -> Environment:
    return rendering.html(kicker="Scale search: how much of the diff vector?")


@cache
def _markdown() -> Environment:
    return rendering.markdown()
