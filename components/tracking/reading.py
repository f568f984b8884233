"""The runs of a pipeline's steps, read from MLflow by who did not make them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.tracking.errors import mlflow_errors
from components.tracking.runs import FAILURE_TAG, PARENT_TAG, connect_mlflow

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A step's run in MLflow."""

    name: str
    status: str
    """MLflow's: RUNNING, FINISHED, FAILED or KILLED."""
    seconds: float | None
    """How long it took, None while it runs."""
    failure: str
    """Why it failed, empty where it did not say."""


def read_children(run_id: str) -> list[TrackedRun]:
    """The runs below a pipeline's run, those of its loops and conditions too, in the order in which they started.

    Raises:
        ServiceUnavailable: MLflow does not answer, or has no such run.
    """
    client = connect_mlflow()
    with mlflow_errors():
        experiment = client.get_run(run_id).info.experiment_id
        parents = [run_id]
        found: list[Run] = []
        while parents:
            below = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parents.pop()}'")
            found += below
            parents += [run.info.run_id for run in below]
    return [
        TrackedRun(
            name=run.info.run_name or run.info.run_id,
            status=run.info.status,
            seconds=(run.info.end_time - run.info.start_time) / 1000 if run.info.end_time else None,
            failure=run.data.tags.get(FAILURE_TAG, ""),
        )
        for run in sorted(found, key=lambda run: run.info.start_time)
    ]
