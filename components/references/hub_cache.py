"""Checkpoints that huggingface_hub keeps on this machine, for runs without a network (`HF_HUB_OFFLINE=1`).

The cache has `models--OWNER--NAME/refs/REVISION`, a file with a commit, and `snapshots/COMMIT` with links to the files
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

import os
import re
from pathlib import Path

from components.errors import BadReference
from components.sources import FolderSource

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_offline() -> bool:
    """Whether the user said that the hub is not to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cached_source(reference: str) -> FolderSource:
    """Open `owner/name` or `owner/name@revision` where huggingface_hub keeps it.

    Raises:
        BadReference: it is not there.
    """
    repo, _, revision = reference.partition("@")
    revision = revision or "main"
    folder = _cache() / f"models--{repo.replace('/', '--')}"
    pointer = folder / "refs" / revision
    commit = revision if _COMMIT.fullmatch(revision) else _text(pointer)
    snapshot = folder / "snapshots" / commit
    if ".." in reference or not commit or not snapshot.is_dir():
        raise BadReference(
            f"{reference} is not in the hub's cache at {_cache()}, and HF_HUB_OFFLINE forbids to ask the hub",
            hint=f"fetch it while there is a network, with hf download {repo}, or unset HF_HUB_OFFLINE",
        )
    return FolderSource(path=snapshot)


def _cache() -> Path:
    """Where huggingface_hub keeps repositories, by the variables that it reads."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
