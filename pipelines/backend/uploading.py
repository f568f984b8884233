"""Pipelines as versions of KFP's: one for each content, made where there is none yet."""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kfp import compiler

from components import __version__
from components.errors import BadParameter, OutputConflict
from components.system import disk_errors
from pipelines.backend.api import Api
from pipelines.backend.models import Version
from pipelines.parts import Resources, load_pipeline

DIGEST = 12
"""Hex digits of the content's SHA-256 in a version's name."""


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """A version that KFP has."""

    pipeline_id: str
    version: Version
    is_new: bool
    """Whether it was made just now, so that it is the newest, which schedules take."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A pipeline as KFP takes it."""

    name: str
    description: str
    content: bytes
    """YAML, the same for the same pipeline and resources."""
    steps: tuple[str, ...]
    """Which steps it has, each once."""
    made_for: str
    """The resource profile and what was set besides, for people."""
    is_trial: bool = False
    """Whether settings of the profile other than the registry were changed for it."""

    @property
    def label(self) -> str:
        """The version's name, which ends in the content's digest."""
        return f"{__version__}-{hashlib.sha256(self.content).hexdigest()[:DIGEST]}"

    @property
    def shown_label(self) -> str:
        """The version's name in the UI, after which the form names runs."""
        return f"{self.name} {__version__} · {self.made_for.partition(',')[0]} · {datetime.now(UTC):%-d %b %H:%M}"


def compiled(name: str, resources: Resources, *, profile: str = "cpu", settings: Sequence[str] = ()) -> Compiled:
    """A pipeline, compiled.

    Args:
        name: which.
        resources: what its steps get.
        profile: where these come from: `cpu`, `gpu` or a file.
        settings: what was changed of the profile.
    """
    pipeline = load_pipeline(name)
    made = pipeline.build(resources)
    with tempfile.TemporaryDirectory() as folder, disk_errors(Path(folder)):
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(made, str(path))
        content = path.read_bytes()
    executors = made.pipeline_spec.deployment_spec["executors"].keys()
    steps = {re.sub(r"^exec-|(-\d+)+$", "", executor) for executor in executors}
    return Compiled(
        name=name,
        description=pipeline.description,
        content=content,
        steps=tuple(sorted(steps)),
        made_for=", ".join(
            [
                Path(profile).stem,
                f"images of {resources.registry}" if resources.registry else "images on the nodes",
                *(f"set {setting}" for setting in settings if not setting.startswith("registry=")),
            ]
        ),
        is_trial=any(not setting.startswith("registry=") for setting in settings),
    )


def upload(api: Api, pipeline: Compiled, *, as_newest: bool = False) -> Uploaded:
    """Make sure that KFP has a pipeline with this content; a pipeline that KFP does not have is made.

    Args:
        api: where to.
        pipeline: which.
        as_newest: upload a content again that an older version has, so that schedules take it.

    Raises:
        RecycleError: the API does not answer, or refuses it.
    """
    wanted = pipeline.label
    pipeline_id = _pipeline_id(api, pipeline)
    newest, same = None, None
    for version in versions(api, pipeline_id):
        newest = newest or version
        if version.name == wanted or version.name.startswith(f"{wanted}-"):
            same = version
            break
    if same is None:
        made = _upload(api, pipeline_id, pipeline, wanted)
    elif same is newest or not as_newest:
        return Uploaded(pipeline_id=pipeline_id, version=same, is_new=False)
    else:
        _, _, times = same.name.removeprefix(wanted).partition("-")
        made = _upload(api, pipeline_id, pipeline, f"{wanted}-{int(times or 1) + 1}")
    return Uploaded(pipeline_id=pipeline_id, version=made, is_new=True)


def find_pipeline(api: Api, name: str) -> str:
    """The id of a pipeline that KFP has.

    Raises:
        BadParameter: it has none of that name.
    """
    found = api.find(f"/pipelines/names/{name}", **api.owner)
    if found is None:
        raise BadParameter(f"{api.host} has no pipeline {name!r} yet", hint=f"run `recycle upload {name}` first")
    return str(found["pipeline_id"])


def versions(api: Api, pipeline_id: str) -> Iterator[Version]:
    """All versions of a pipeline, the newest first, fetched as they are taken; each carries the whole pipeline."""
    path = f"/pipelines/{pipeline_id}/versions"
    for version in api.pages(path, "pipeline_versions", size=10, sort_by="created_at desc"):
        yield Version.model_validate(version)


def _pipeline_id(api: Api, pipeline: Compiled) -> str:
    found = api.find(f"/pipelines/names/{pipeline.name}", **api.owner)
    if found is None:
        # KFP's upload of a pipeline would call its first version by the pipeline's name.
        names = {"name": pipeline.name, "display_name": pipeline.name}
        try:
            found = api.post("/pipelines", {**names, "description": pipeline.description, **api.owner})
        except OutputConflict:  # somebody else made it meanwhile
            return find_pipeline(api, pipeline.name)
    return str(found["pipeline_id"])


def _upload(api: Api, pipeline_id: str, pipeline: Compiled, label: str) -> Version:
    # It stands before the pipeline's description, of which the UI shows little here.
    made = f"Recycle `{label}`: `{pipeline.made_for}`\n\n"
    query = {
        "name": label,
        "display_name": pipeline.shown_label,
        "pipelineid": pipeline_id,
        "description": made + pipeline.description,
    }
    with tempfile.TemporaryDirectory() as folder, disk_errors(Path(folder)):
        path = Path(folder) / f"{pipeline.name}.yaml"
        path.write_bytes(pipeline.content)
        try:
            return Version.model_validate(api.upload("/pipelines/upload_version", path, **query))
        except OutputConflict:  # somebody else uploaded the same content meanwhile
            for version in versions(api, pipeline_id):
                if version.name == label:
                    return version
            raise
