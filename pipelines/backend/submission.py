"""`recycle submit`: a run on the cluster, of the pipeline as it is here."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.errors import BadParameter
from pipelines.backend.api import Api
from pipelines.backend.models import KfpRun
from pipelines.backend.uploading import Compiled, Uploaded, upload

EQUALS = 1
"""The operation's number in KFP's filters."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that KFP has taken."""

    run: KfpRun
    uploaded: Uploaded

    def facts(self, api: Api) -> dict[str, Any]:
        """The run as one JSON object."""
        return {
            "run_id": self.run.run_id,
            "name": self.run.display_name,
            "version": self.uploaded.version.name,
            "version_is_new": self.uploaded.is_new,
            "ui": ui_link(api, self.run.run_id),
        }


def submit(api: Api, pipeline: Compiled, parameters: Mapping[str, Any], *, experiment: str) -> Submitted:
    """Upload the pipeline if KFP does not have it as it is here, and start a run of it.

    A trial is a version of a pipeline of its own: of the pipeline itself, schedules take the newest version.

    Raises:
        RecycleError: the API does not answer, or refuses it.
    """
    uploaded = upload(api, replace(pipeline, name=f"{pipeline.name}-trials") if pipeline.is_trial else pipeline)
    body = {
        "display_name": run_name(pipeline.name, parameters),
        "experiment_id": experiment_id(api, experiment),
        "pipeline_version_reference": {
            "pipeline_id": uploaded.pipeline_id,
            "pipeline_version_id": uploaded.version.pipeline_version_id,
        },
        "runtime_config": {"parameters": dict(parameters)},
    }
    return Submitted(run=KfpRun.model_validate(api.post("/runs", body)), uploaded=uploaded)


def run_name(pipeline: str, parameters: Mapping[str, Any]) -> str:
    """What a run is called, by what it moves onto what: `recycle chat-1 → base-2`."""
    tuned, base = (_short(parameters.get(name, "")) for name in ("source_tuned", "target_base"))
    tuned = tuned or _short(parameters.get("source_base", ""))
    several = [_short(one.strip()) for one in parameters.get("bases", "").split(",") if one.strip()]
    if "releases" in parameters:
        return f"{pipeline} {parameters['releases']}"
    moved = f"{tuned} → {base}" if tuned and base else ""
    return f"{pipeline} {moved or parameters.get('transfer') or ', '.join(several) or 'demo'}"


def _short(reference: str) -> str:
    """The end of a reference, which tells it from others."""
    return re.split(r"[/:]", reference.rstrip("/").removesuffix("/checkpoint.json"))[-1]


def check_templates(parameters: Mapping[str, Any]) -> None:
    """Refuse values that Argo would take for templates of its own, and replace or fail on.

    Raises:
        BadParameter: one has two opening braces.
    """
    for name, value in parameters.items():
        if "{{" in str(value):
            raise BadParameter(
                f"{name} is {value!r}, and KFP's workflows take {{{{ for the beginning of a template",
                hint="give a value without {{",
            )


def experiment_id(api: Api, name: str) -> str:
    """The id of an experiment, which is made where there is none of that name."""
    filtered = {"predicates": [{"operation": EQUALS, "key": "display_name", "stringValue": name}]}
    found = api.get("/experiments", filter=json.dumps(filtered), **api.owner).get("experiments")
    if not found:
        found = [api.post("/experiments", {"display_name": name, **api.owner})]
    return str(found[0]["experiment_id"])


def ui_link(api: Api, run_id: str) -> str | None:
    """Where people look at a run, None where that is not known."""
    return f"{api.ui}/#/runs/details/{run_id}" if api.ui else None
