"""From what a user types to a checkpoint: a folder, a manifest file, or `repo@revision` on the hub."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.checkpoint import Checkpoint
from components.errors import BadReference
from components.folder import FolderSource
from components.source import Source

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
    path = Path(unquote(reference.removeprefix("file://"))).expanduser()
    if path.is_dir():
        return FolderSource(path=path)
    if path.is_file():
        return FolderSource(path=local_folder(Checkpoint.read(path)))
    if _HUB.fullmatch(reference) and not reference.startswith((".", "/", "~")):
        from components.hub import HubSource

        return HubSource.open(reference)
    raise BadReference(
        f"{reference!r} is neither a folder, nor a manifest file, nor a hub repository",
        do="give a folder with a config.json, a checkpoint.json, or owner/name@revision",
    )


def local_folder(checkpoint: Checkpoint) -> Path:
    """The folder that holds a checkpoint's files.

    Raises:
        BadReference: they are not on this machine.
    """
    url = urlsplit(checkpoint.uri)
    path = Path(unquote(url.path))
    if url.scheme != "file" or not path.is_dir():
        raise BadReference(
            f"the files of {checkpoint.name} should be at {checkpoint.uri}, where no folder can be read",
            do="set RECYCLE_STORE to the store that holds them, or save the checkpoint again",
        )
    return path
