"""`recycle schedule`: recurring runs, which take a pipeline's newest version each time.

`kfp.Client` refuses a recurring run without a version; the API takes it, and then looks for the newest one each time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.errors import BadParameter, OutputConflict
from components.system import text_table
from pipelines.backend.api import Api
from pipelines.backend.cron import Cron, parse_cron
from pipelines.backend.models import RecurringRun, VersionReference
from pipelines.backend.runs import pipeline_name
from pipelines.backend.submission import experiment_id
from pipelines.backend.uploading import find_pipeline, versions


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A recurring run, and what it runs."""

    recurring: RecurringRun
    pipeline: str

    @property
    def cron(self) -> str:
        """When, in five fields where it fits into them."""
        trigger = self.recurring.trigger
        if trigger.periodic_schedule:
            return f"every {trigger.periodic_schedule.interval_second} s"
        cron = trigger.cron_schedule.cron if trigger.cron_schedule else ""
        return cron.removeprefix("0 ") if len(cron.split()) == 6 else cron

    @property
    def next_run(self) -> datetime | None:
        """When it comes due, in UTC; None where it is paused, or where its expression is not one of ours."""
        cron = self.recurring.trigger.cron_schedule
        if not self.recurring.enabled or cron is None or not cron.cron.startswith("0 "):
            return None
        try:
            return parse_cron(self.cron).next_after(datetime.now(UTC))
        except BadParameter:  # made by other means, and read by KFP in other ways
            return None

    def facts(self) -> dict[str, Any]:
        """The schedule as one JSON object."""
        return {
            "name": self.recurring.display_name,
            "id": self.recurring.recurring_run_id,
            "pipeline": self.pipeline,
            "cron": self.cron,
            "enabled": self.recurring.enabled,
            "next": self.next_run.isoformat() if self.next_run else None,
            "parameters": self.recurring.runtime_config.parameters,
        }


def create(
    api: Api, pipeline: str, cron: Cron, parameters: Mapping[str, Any], *, name: str, experiment: str, replace: bool
) -> Scheduled:
    """Make a schedule: one run at a time, and none for times that passed while it was paused.

    Args:
        api: where.
        pipeline: which; KFP must have it.
        cron: when, in UTC.
        parameters: all of them, so that a later version's defaults change nothing.
        name: of the schedule.
        experiment: the KFP experiment of its runs.
        replace: whether schedules of that name are deleted once this one is made.

    Raises:
        OutputConflict: there is a schedule of that name.
        BadParameter: KFP does not have the pipeline.
    """
    pipeline_id = find_pipeline(api, pipeline)
    if next(versions(api, pipeline_id), None) is None:
        raise BadParameter(f"the pipeline {pipeline!r} has no version", hint=f"run `recycle upload {pipeline}` first")
    others = [one for one in _all(api) if one.display_name == name]
    if others and not replace:
        raise OutputConflict(
            f"there is a schedule {name!r} already", hint="replace it with --replace, or give another --name"
        )
    body = {
        "display_name": name,
        "experiment_id": experiment_id(api, experiment),
        "pipeline_version_reference": {"pipeline_id": pipeline_id},
        "runtime_config": {"parameters": dict(parameters)},
        "trigger": {"cron_schedule": {"cron": cron.with_seconds}},
        "max_concurrency": "1",
        "no_catchup": True,
        "mode": "ENABLE",
    }
    made = RecurringRun.model_validate(api.post("/recurringruns", body))
    # Last, so that a refusal leaves the old one; KFP cannot change one.
    for other in others:
        api.delete(f"/recurringruns/{other.recurring_run_id}")
    return Scheduled(recurring=made, pipeline=pipeline)


def list_schedules(api: Api) -> list[Scheduled]:
    """All schedules."""
    return [
        Scheduled(recurring=one, pipeline=pipeline_name(api, one.pipeline_version_reference.pipeline_id))
        for one in _all(api)
    ]


def taking_newest(api: Api, pipeline_id: str) -> list[RecurringRun]:
    """The schedules that run whatever version of a pipeline is its newest, but for those paused, by name."""
    newest = VersionReference(pipeline_id=pipeline_id)
    found = (one for one in _all(api) if one.enabled and one.pipeline_version_reference == newest)
    return sorted(found, key=lambda one: one.display_name)


def listing(schedules: Iterable[Scheduled]) -> str:
    """A table of schedules."""
    rows = [("name", "pipeline", "when (UTC)", "state", "next (UTC)")]
    for one in schedules:
        state = "on" if one.recurring.enabled else "paused"
        due = one.next_run.strftime("%Y-%m-%d %H:%M") if one.next_run else "–"
        rows.append((one.recurring.display_name, one.pipeline, one.cron, state, due))
    return text_table(rows) if len(rows) > 1 else "No schedules yet."


def change(api: Api, name: str, action: str) -> None:
    """Pause a schedule (`disable`), let it go on (`enable`) or remove it (`delete`).

    Args:
        api: where.
        name: of the schedule, or its id.
        action: which of them.

    Raises:
        BadParameter: there is no such schedule, or several have that name.
    """
    schedules = list(_all(api))
    found = [one for one in schedules if name in (one.display_name, one.recurring_run_id)]
    if len(found) > 1:
        ids = ", ".join(one.recurring_run_id for one in found)
        raise BadParameter(f"there are {len(found)} schedules {name!r}", hint=f"give the id of one: {ids}")
    if not found:
        known = ", ".join(sorted(one.display_name for one in schedules)) or "there are none"
        raise BadParameter(f"there is no schedule {name!r}", hint=f"choose one of `recycle schedule list`: {known}")
    path = f"/recurringruns/{found[0].recurring_run_id}"
    if action == "delete":
        api.delete(path)
    else:
        api.post(f"{path}:{action}", {})


def _all(api: Api) -> Iterable[RecurringRun]:
    for document in api.pages("/recurringruns", "recurringRuns", owned=True):
        yield RecurringRun.model_validate(document)
