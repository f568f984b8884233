"""What reports on several models show side by side: the mean over tasks first, then each task."""

from dataclasses import dataclass

from components.judging.evaluation import Evaluation
from components.judging.paired import Estimate, Estimates

MEAN = "Mean"

Cells = tuple[Estimate, ...]
"""One estimate a column, in the columns' order."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task, or the mean over tasks."""

    name: str
    description: str
    metric: str = ""
    """Empty for the mean."""
    samples: int = 0
    benchmark: str | None = None
    """The benchmark that the task is, by its name in papers; None where it is none of those."""


def columns_of(evaluation: Evaluation) -> tuple[Column, ...]:
    """The columns of a report on models that were evaluated alike."""
    tasks = tuple(
        Column(
            name=task.task,
            description=task.description,
            metric=task.metric,
            samples=task.samples,
            benchmark=task.benchmark,
        )
        for task in evaluation.tasks
    )
    samples = sum(task.samples for task in tasks)
    return (Column(name=MEAN, description="every task weighs the same", samples=samples), *tasks)


def cells(estimates: Estimates, columns: tuple[Column, ...]) -> Cells:
    """Estimates in the order of the columns, whatever the order of the evaluation's tasks."""
    return (estimates.mean, *(estimates.tasks[column.name] for column in columns[1:]))
