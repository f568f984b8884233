"""From what a user types to a checkpoint: a folder, a manifest, `s3://…`, `models:/…`, a release or `repo@revision`."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from components.checkpoints import MANIFEST, Checkpoint, Source
from components.errors import BadReference
from components.references.family import on_hub, release_at
from components.s3 import Bucket
from components.sources import FolderSource, S3Source
from components.store import open_checkpoint
from components.system import without_passwords

DEMO_PREFIX = "demo:"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def open_source(reference: str) -> Source:
    """Open the checkpoint that `reference` names.

    A path that exists wins over a release or a hub repository of the same spelling.

    Raises:
        BadReference: it names nothing that can be found.
    """
    if reference.startswith(DEMO_PREFIX):
        from components.references.demo import demo_source

        return demo_source(reference.removeprefix(DEMO_PREFIX))
    if reference.startswith("s3://"):
        return S3Source(Bucket.at(reference))
    if reference.startswith("models:/"):
        from components.references.mlflow_model import registered_uri

        return open_source(registered_uri(reference))
    found = _on_this_machine(reference)
    if found is not None:
        return found
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
        # A pinned release is opened by its commit; the revision is still what the name stands for.
        return replace(HubSource.open(place), release=name, revision=release.revision)
    if _HUB.fullmatch(reference) and not reference.startswith((".", "/", "~")):
        source = HubSource.open(reference)
        return replace(source, release=release_at(source.repo, source.revision))
    return None


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
