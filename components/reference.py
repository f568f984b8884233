"""From what a user types to a checkpoint: a folder, a manifest file, or `repo@revision` on the hub."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.checkpoint import MANIFEST, Checkpoint
from components.errors import BadReference
from components.folder import FolderSource
from components.source import Source
from components.store import open_store

DEMO_PREFIX = "demo:"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def open_source(reference: str) -> Source:
    """Open the checkpoint that `reference` names.

    A path that exists wins over a hub repository of the same spelling.

    Raises:
        BadReference: it names nothing that can be found.
    """
    if reference.startswith(DEMO_PREFIX):
        from components.demo.source import demo_source

        return demo_source(reference.removeprefix(DEMO_PREFIX))
    found = _on_this_machine(reference)
    if found is not None:
        return found
    if _HUB.fullmatch(reference) and not reference.startswith((".", "/", "~")):
        from components.hub import HubSource

        return HubSource.open(reference)
    raise BadReference(
        f"{reference!r} is neither a folder, nor a manifest file, nor a hub repository",
        do="give a folder with a config.json, a checkpoint.json, or owner/name@revision",
    )


def _on_this_machine(reference: str) -> FolderSource | None:
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
    beside = path.name == MANIFEST and all((path.parent / file.path).is_file() for file in manifest.files)
    return FolderSource(path=path.parent if beside else local_folder(manifest))


def local_folder(checkpoint: Checkpoint) -> Path:
    """The folder that holds a checkpoint's files: where its manifest says, or the store under its digest.

    Raises:
        BadReference: they are not on this machine.
    """
    url = urlsplit(checkpoint.uri)
    path = Path(unquote(url.path))
    for folder in (path, open_store().folder(checkpoint.digest)):
        if (folder / MANIFEST).is_file() and Checkpoint.read(folder / MANIFEST).digest == checkpoint.digest:
            return folder
    if url.scheme == "file" and path.is_dir() and not (path / MANIFEST).is_file():
        return path
    raise BadReference(
        f"the files of {checkpoint.name} are neither at {checkpoint.uri} nor in the store",
        do="set RECYCLE_STORE to the store that holds them, or save the checkpoint again",
    )
