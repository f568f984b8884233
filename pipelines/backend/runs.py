"""`recycle runs`: what ran and runs on the cluster."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import quote

from components.errors import BadParameter
from components.system import text_table
from pipelines.backend.api import PAGE, Api
from pipelines.backend.models import KfpRun, Version, VersionReference
from pipelines.backend.steps import step_names
from pipelines.backend.uploading import versions


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A run in a listing."""

    run: KfpRun
    pipeline: str

    def facts(self) -> dict[str, Any]:
        """The run as one JSON object."""
        return {
            "run_id": self.run.run_id,
            "name": self.run.display_name,
            "pipeline": self.pipeline,
            "state": self.run.shown_state,
            "started": self.run.created_at.isoformat(),
            "seconds": self.run.seconds,
            "parameters": self.run.runtime_config.parameters,
        }


def list_runs(api: Api, limit: int) -> list[RunEntry]:
    """The newest runs, the newest first."""
    names = cache(lambda pipeline_id: pipeline_name(api, pipeline_id))
    pages = api.pages("/runs", "runs", size=min(limit, PAGE), owned=True, sort_by="created_at desc")
    runs = [KfpRun.model_validate(run) for run in islice(pages, limit)]
    return [RunEntry(run=run, pipeline=names(run.pipeline_version_reference.pipeline_id)) for run in runs]


def listing(listed: Iterable[RunEntry]) -> str:
    """A table of runs."""
    rows = [("run", "pipeline", "name", "state", "started (UTC)", "took")]
    for one in listed:
        started = one.run.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        rows.append((one.run.run_id, one.pipeline, one.run.display_name, one.run.shown_state, started, _took(one.run)))
    return text_table(rows, right=(5,)) if len(rows) > 1 else "No runs yet."


def get_run(api: Api, run_id: str) -> KfpRun:
    """One run.

    Raises:
        BadParameter: there is none of that id.
    """
    found = api.find(f"/runs/{quote(run_id, safe='')}")
    if found is None:
        raise BadParameter(f"{api.host} has no run {run_id!r}", hint="choose one of `recycle runs`")
    return KfpRun.model_validate(found)


def stop_run(api: Api, run_id: str) -> bool:
    """Stop a run; False where it had ended already."""
    if get_run(api, run_id).ended:
        return False
    api.post(f"/runs/{run_id}:terminate", {})
    return True


def pipeline_name(api: Api, pipeline_id: str) -> str:
    """A pipeline's name, empty where it is gone or was never uploaded."""
    found = api.find(f"/pipelines/{pipeline_id}") if pipeline_id else None
    return str((found or {}).get("display_name", ""))


def step_names_of(api: Api, run: KfpRun) -> dict[str, str]:
    """The steps of a run's pipeline, see `step_names`; none where its version is gone."""
    return step_names(_spec(api, run.pipeline_version_reference))


def _spec(api: Api, reference: VersionReference) -> dict[str, Any]:
    if not reference.pipeline_version_id:
        newest = next(versions(api, reference.pipeline_id), None) if reference.pipeline_id else None
        return newest.spec if newest else {}
    found = api.find(f"/pipelines/{reference.pipeline_id}/versions/{reference.pipeline_version_id}")
    return Version.model_validate(found).spec if found else {}


def _took(run: KfpRun) -> str:
    seconds = run.seconds if run.ended else (datetime.now(UTC) - run.created_at).total_seconds()
    minutes, rest = divmod(int(seconds or 0), 60)
    hours, minutes = divmod(minutes, 60)
    took = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    return took if run.ended else f"{took} so far"
