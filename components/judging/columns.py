"""What reports on several models show side by side: the mean over tasks first, then each task."""

from dataclasses import dataclass

from components.judging.evaluation import Evaluation
from components.judging.paired import Estimate, Estimates

MEAN = "Mean"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task, or the mean over tasks."""

    name: str
    description: str


def columns_of(evaluation: Evaluation) -> tuple[Column, ...]:
    """The columns of a report on models that were evaluated alike."""
    tasks = (Column(name=task.task, description=task.description) for task in evaluation.tasks)
    return (Column(name=MEAN, description="every task weighs the same"), *tasks)


def cells(estimates: Estimates, columns: tuple[Column, ...]) -> tuple[Estimate, ...]:
    """Estimates in the order of the columns, whatever the order of the evaluation's tasks."""
    return (estimates.mean, *(estimates.tasks[column.name] for column in columns[1:]))
