"""From what a user types to a checkpoint: a folder, a manifest, `s3://…`, `models:/…`, a release or `repo@revision`."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from components.checkpoints import MANIFEST, Checkpoint, Source
from components.errors import BadReference
from components.references.family import on_hub, release_at
from components.references.hub_cache import cached_source, is_offline
from components.s3 import Bucket
from components.sources import FolderSource, S3Source
from components.store import open_checkpoint
from components.system import without_passwords

DEMO_PREFIX = "demo:"
HUB_PREFIX = "hub:"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def open_source(reference: str) -> Source:
    """Open the checkpoint that `reference` names.

    A path that exists wins over a release or a hub repository of the same spelling, unless `hub:` stands before it.
    Spaces and line ends around a name, which pasting leaves there, are no part of it.

    Raises:
        BadReference: it names nothing that can be found.
    """
    reference = reference.strip()
    if reference.startswith(DEMO_PREFIX):
        from components.references.demo import demo_source

        return demo_source(reference.removeprefix(DEMO_PREFIX))
    if reference.startswith("s3://"):
        return S3Source(Bucket.at(reference))
    if reference.startswith("models:/"):
        from components.references.mlflow_model import registered_uri

        return open_source(registered_uri(reference))
    insists = reference.startswith(HUB_PREFIX)
    reference = reference.removeprefix(HUB_PREFIX)
    found = None if insists else _on_this_machine(reference)
    if found is not None:
        return found
    if not insists and _is_below_a_folder(reference):
        raise BadReference(
            f"there is no folder {reference} in {Path.cwd()}",
            hint=f"check the path; write hub:{reference} for the hub's repository of that name",
        )
    named = _hub_source(reference)
    if named is not None:
        return named
    raise BadReference(
        f"{without_passwords(reference)!r} is neither a folder, nor a manifest file, nor a hub repository",
        hint="give a folder with a config.json, a checkpoint.json, s3://bucket/prefix, family:release, "
        "or owner/name@revision",
    )


def _hub_source(reference: str) -> Source | None:
    from components.sources import HubSource

    found = on_hub(reference)
    if found is not None:
        name, release, place = found
        if is_offline():
            return cached_source(place)
        # A pinned release is opened by its commit; the revision is still what the name stands for.
        return replace(HubSource.open(place), release=name, revision=release.revision)
    if _HUB.fullmatch(reference) and not reference.startswith((".", "/", "~")):
        if is_offline():
            return cached_source(reference)
        source = HubSource.open(reference)
        return replace(source, release=release_at(source.repo, source.revision))
    return None


def _is_below_a_folder(reference: str) -> bool:
    """Whether a name that could be the hub's begins with a folder that is here, as paths do that end in a mistake."""
    first = reference.partition("/")[0]
    return bool(_HUB.fullmatch(reference)) and "@" not in reference and Path(first).is_dir()


def _on_this_machine(reference: str) -> Source | None:
    try:
        path = Path(unquote(reference.removeprefix("file://")) if reference.startswith("file://") else reference)
        path = path.expanduser()
        if path.is_dir() and reference:
            return FolderSource(path=path)
        if not path.is_file():
            return None
    except (OSError, RuntimeError, ValueError):  # a name too long for a path, a home that is nobody's, a NUL
        return None
    manifest = Checkpoint.read(path)
    beside = path.name == MANIFEST and all((path.parent / file.path).is_file() for file in manifest.source_files)
    return FolderSource(path=path.parent) if beside else open_checkpoint(manifest)
