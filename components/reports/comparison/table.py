"""The score table: what every form of the report shows first."""

from dataclasses import dataclass

from components.judging import Estimate, Estimates, difference, interval, percent, points, scores
from components.reports.comparison.inputs import MEANING, Model, Role, check_roles, model_of
from components.reports.text import aligned
from components.system import one_line

MEAN = "Mean"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task, or the mean over tasks."""

    name: str
    description: str
    metric: str
    samples: int
    benchmark: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's scores, or the recycled model's lead over one."""

    role: Role
    meaning: str
    model_name: str
    cells: tuple[Estimate, ...]
    """In the order of the table's columns."""

    @property
    def mean(self) -> Estimate:
        """The mean over tasks."""
        return self.cells[0]


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores by model, and the recycled model's differences to each other model."""

    columns: tuple[Column, ...]
    """The mean first, then the tasks."""
    scores: tuple[Row, ...]
    differences: tuple[Row, ...]

    def lead(self, role: Role) -> Estimate:
        """The recycled model's mean difference to the model with this role."""
        return next(row.mean for row in self.differences if row.role == role)

    def score(self, role: Role) -> Estimate:
        """The mean score of the model with this role."""
        return next(row.mean for row in self.scores if row.role == role)


def score_table(models: tuple[Model, ...]) -> ScoreTable:
    """Compare the recycled model with every other one.

    Raises:
        BadParameter: a needed model is missing, or the models did not answer the same questions.
    """
    check_roles(models)
    recycled = model_of(models, "recycled")
    return ScoreTable(
        columns=_columns(recycled),
        scores=tuple(_row(model, recycled, scores(model.evaluation)) for model in models),
        differences=tuple(
            _row(model, recycled, difference(recycled.evaluation, model.evaluation))
            for model in models
            if model is not recycled
        ),
    )


def _columns(model: Model) -> tuple[Column, ...]:
    tasks = tuple(
        Column(
            name=task.task,
            description=task.description,
            metric=task.metric,
            samples=task.samples,
            benchmark=task.benchmark,
        )
        for task in model.evaluation.tasks
    )
    samples = sum(task.samples for task in tasks)
    return (Column(name=MEAN, description="every task weighs the same", metric="", samples=samples), *tasks)


def _row(model: Model, recycled: Model, estimates: Estimates) -> Row:
    # Evaluations may list the same tasks in another order; the recycled model's order is the table's.
    tasks = tuple(estimates.tasks[task.task] for task in recycled.evaluation.tasks)
    return Row(
        role=model.role,
        meaning=MEANING[model.role],
        model_name=model.evaluation.model_name,
        cells=(estimates.mean, *tasks),
    )


def as_text(table: ScoreTable) -> str:
    """The table for a terminal: scores in %, then differences in points with their 95 % intervals."""
    lines = [["Score, %", *(one_line(column.name) for column in table.columns)]]
    lines += [[row.role.capitalize(), *(percent(cell.value) for cell in row.cells)] for row in table.scores]
    lines += [["", *("" for _ in table.columns)], ["Recycled, points", *("" for _ in table.columns)]]
    lines += [
        [f"− {row.role}", *(f"{points(cell.value)} [{interval(cell)}]" for cell in row.cells)]
        for row in table.differences
    ]
    return aligned(lines)
