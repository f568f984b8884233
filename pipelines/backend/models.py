"""What KFP's API says of runs, versions and recurring runs, as far as we read it."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
"""States that a run never leaves."""
FAILED = ("FAILED", "ERROR")


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Child(_Said):
    """A node of Argo's that follows another."""

    pod_name: str = ""
    """The node's id; pods are named otherwise."""


class Task(_Said):
    """A node of Argo's: a step, or one of the drivers, executors and groups around it."""

    display_name: str = ""
    """Empty for what MLMD recorded beside the nodes."""
    state: str = ""
    """Empty for what was never reached."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    child_tasks: tuple[Child, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it took, None while it runs."""
        return _seconds(self.start_time, self.end_time)


class Details(_Said):
    """What a run is made of."""

    task_details: tuple[Task, ...] = ()


class Change(_Said):
    """A state that a run was in."""

    state: str = ""


class VersionReference(_Said):
    """Which version of which pipeline."""

    pipeline_id: str = ""
    pipeline_version_id: str = ""


class RuntimeConfig(_Said):
    """How a pipeline is called."""

    parameters: dict[str, Any] = Field(default_factory=dict)


class KfpRun(_Said):
    """A run of a pipeline."""

    run_id: str
    display_name: str = ""
    state: str = "PENDING"
    """A new run's is missing at first."""
    created_at: datetime
    finished_at: datetime | None = None
    pipeline_version_reference: VersionReference = VersionReference()
    runtime_config: RuntimeConfig = RuntimeConfig()
    run_details: Details = Details()
    state_history: tuple[Change, ...] = ()
    plugins_output: dict[str, Any] = Field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    @property
    def mlflow_run(self) -> str:
        """The id of the MLflow run that KFP's plugin opened for it, empty where there is none."""
        entries = self.plugins_output.get("mlflow", {}).get("entries", {})
        return str(entries.get("root_run_id", {}).get("value", ""))

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it; such a run ends as FAILED."""
        return any(change.state in ("CANCELING", "CANCELED") for change in self.state_history)

    @property
    def shown_state(self) -> str:
        """The state in a word for people."""
        return "stopped" if self.ended and self.stopped else self.state.lower()

    @property
    def seconds(self) -> float | None:
        """How long it took, None while it runs."""
        return _seconds(self.created_at, self.finished_at) if self.ended else None


class Version(_Said):
    """A version of a pipeline."""

    pipeline_version_id: str
    name: str = ""
    display_name: str = ""
    created_at: datetime
    pipeline_spec: dict[str, Any] = Field(default_factory=dict)
    """The compiled pipeline, its two documents under `pipeline_spec` and `platform_spec`."""

    @property
    def spec(self) -> dict[str, Any]:
        """The compiled pipeline without what is Kubernetes' own."""
        found: dict[str, Any] = self.pipeline_spec.get("pipeline_spec", self.pipeline_spec)
        return found


class CronSchedule(_Said):
    """When, as robfig/cron reads it."""

    cron: str = ""


class PeriodicSchedule(_Said):
    """How often."""

    interval_second: str = ""


class Trigger(_Said):
    """What starts a recurring run."""

    cron_schedule: CronSchedule | None = None
    periodic_schedule: PeriodicSchedule | None = None


class RecurringRun(_Said):
    """What KFP calls a schedule."""

    recurring_run_id: str
    display_name: str = ""
    pipeline_version_reference: VersionReference = VersionReference()
    runtime_config: RuntimeConfig = RuntimeConfig()
    trigger: Trigger = Trigger()
    status: str = ""

    @property
    def enabled(self) -> bool:
        """Whether it starts runs."""
        return self.status == "ENABLED"


def ended_at(moment: datetime | None) -> datetime | None:
    """When something ended, None while it runs: KFP and Argo then write the year 1, or 1970."""
    return None if moment is None or moment < datetime(1971, 1, 1, tzinfo=UTC) else moment


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    ended = ended_at(end)
    return max(0.0, (ended - start).total_seconds()) if start and ended else None
