"""The checkpoint store: a checkpoint's files under the digest of their content, complete or not there at all.

<root>/checkpoints/<digest>/   the files and their manifest
<root>/staging/<key>/          work in progress; a rerun of the same work goes on in it
<root>/results/<kind>/<key>    small documents that name finished work, so that it is not done twice
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components import settings
from components.checkpoint import MANIFEST, Checkpoint
from components.errors import BadParameter
from components.work import claimed, discard, disk_errors, publish, write_durably

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class FolderStore:
    """A store in a folder."""

    root: Path

    def folder(self, digest: str) -> Path:
        """Where a checkpoint of this digest lies, or would."""
        return self.root / "checkpoints" / digest

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it."""
        folder = self.folder(digest)
        if not (folder / MANIFEST).is_file():
            return None
        # The store may have moved since, or be mounted at another place.
        return Checkpoint.read(folder / MANIFEST).model_copy(update={"uri": folder.as_uri()})

    @contextmanager
    def staging(self, key: str) -> Iterator[Path]:
        """A folder to work in, the same one for the same key, for one process at a time.

        It stays with what is in it when the work is broken off, so that a rerun goes on, and is gone once published.
        """
        folder = self.root / "staging" / key
        with disk_errors(self.root), claimed(folder, wait=True):
            folder.mkdir(exist_ok=True)
            try:
                yield folder
            finally:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def once(self, key: str, recall: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find work that was done before, or do it in a staging folder; of several that want it at once, one does it.

        Args:
            key: names the work.
            recall: finds its result, None while there is none.
            make: does it in the folder it is given, and sees to it that `recall` finds the result from then on.
        """
        done = recall()
        if done is None:
            with self.staging(key) as folder:
                done = recall()  # whoever held the claim before may have done it
                if done is None:
                    done = make(folder)
                discard(folder)
        return done

    def publish(self, staging: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the files in `staging` visible under their digest; free when they are there already."""
        final = self.folder(checkpoint.digest)
        checkpoint = checkpoint.model_copy(update={"uri": final.as_uri()})
        final.parent.mkdir(parents=True, exist_ok=True)
        with claimed(final, wait=True):
            if self.find(checkpoint.digest):
                discard(staging)
            else:
                write_durably(staging / MANIFEST, checkpoint.to_json())
                publish(staging, final)
        return checkpoint

    def recall(self, kind: str, key: str) -> str | None:
        """What `remember` kept."""
        path = self.root / "results" / kind / key
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def remember(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        path = self.root / "results" / kind / key
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, document.encode())

    def recall_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was remembered, if it is still there."""
        digest = self.recall(kind, key)
        return self.find(digest) if digest else None


def open_store() -> FolderStore:
    """The store that RECYCLE_STORE names.

    Raises:
        BadParameter: it is of a kind this version does not have.
    """
    uri = settings.store_uri()
    if re.match(r"[a-z0-9+]+://", uri) and not uri.startswith("file://"):
        raise BadParameter(f"RECYCLE_STORE is {uri!r}; this version keeps checkpoints in folders", do="name a folder")
    return FolderStore(root=Path(uri.removeprefix("file://")).expanduser().absolute())
