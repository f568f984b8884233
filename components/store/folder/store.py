"""The checkpoint store in a folder.

<root>/checkpoints/<digest>/   the files and their manifest
<root>/staging/<key>/          work in progress; a rerun of the same work goes on in it
<root>/results/<kind>/<key>    small documents that name finished work, so that it is not done twice
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from components.checkpoints import MANIFEST, Checkpoint, or_none_if_damaged, text_of
from components.sources import FolderSource
from components.store.folder.garbage import folder_garbage
from components.store.folder.writer import FolderCheckpointWriter
from components.store.garbage import DIGEST, Garbage
from components.system import (
    discard,
    disk_errors,
    exclusive_lock,
    get_or_create,
    publish,
    reading_errors,
    restore,
    write_durably,
)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class FolderStore:
    """A store in a folder (see `components.store.Store`)."""

    root: Path

    @property
    def uri(self) -> str:
        """`file://` and the folder."""
        return self.root.as_uri()

    def folder(self, digest: str) -> Path:
        """Where a checkpoint of this digest lies, or would."""
        return self.root / "checkpoints" / digest

    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it.

        Raises:
            BadCheckpoint: it is damaged.
            BadReference: it cannot be read.
        """
        folder = self.folder(digest)
        with reading_errors(folder / MANIFEST):
            if not (folder / MANIFEST).is_file():
                return None
        found = Checkpoint.read(folder / MANIFEST)
        # The store may have moved since, or be mounted at another place.
        return found.model_copy(update={"uri": folder.as_uri()}) if found.digest == digest else None

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it; one whose manifest is damaged is made again."""
        return or_none_if_damaged(lambda: self.manifest(digest))

    def find_complete(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has all of its files in their sizes."""
        found = self.find(digest)
        listed = or_none_if_damaged(FolderSource(path=self.folder(digest)).files) if found else None
        return found if listed else None

    def source(self, checkpoint: Checkpoint) -> FolderSource | None:
        """Where a checkpoint's files can be read, None where the store does not have them."""
        return FolderSource(path=self.folder(checkpoint.digest)) if self.find(checkpoint.digest) else None

    def get_or_create(self, key: str, find: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find work that was done before, or do it (see `components.system.get_or_create`)."""
        return get_or_create(self.root / "staging" / key, find, make)

    def writer(self, work: Path) -> FolderCheckpointWriter:
        """A draft in the folder that `get_or_create` gave."""
        return FolderCheckpointWriter(work, self._held)

    def publish(self, work: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the draft of `work` visible under its digest; free when that is there already."""
        return self.publish_folder(work, checkpoint)

    def publish_folder(self, folder: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the files in a folder, which is in the one that `get_or_create` gave, visible under their digest."""
        final = self.folder(checkpoint.digest)
        checkpoint = checkpoint.model_copy(update={"uri": final.as_uri()})
        final.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(final, wait=True):
            if self.find_complete(checkpoint.digest):
                discard(folder)
            else:
                write_durably(folder / MANIFEST, checkpoint.to_json())
                if final.is_dir():
                    restore(folder, final, last=MANIFEST)
                else:
                    publish(folder, final)
                FolderCheckpointWriter(final).tidy()
        for file in checkpoint.files:
            self.put("files", file.sha256, f"{checkpoint.digest}/{file.path}")
        return checkpoint

    @contextmanager
    def local(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """A checkpoint's files in a folder, for programs that need them there: the store's own.

        Raises:
            BadReference: the store does not have them.
        """
        if self.find(checkpoint.digest) is None:
            raise checkpoint.missing_error()
        yield self.folder(checkpoint.digest)

    def get(self, kind: str, key: str) -> str | None:
        """What `put` kept."""
        path = self.root / "results" / kind / key
        with reading_errors(path):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        return or_none_if_damaged(lambda: text_of(content, str(path)))

    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        path = self.root / "results" / kind / key
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, document.encode())

    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old` (see `components.store.Store`)."""
        path = self.root / "results" / kind / key
        with disk_errors(self.root), exclusive_lock(path, wait=True):
            found = path.read_bytes() if path.exists() else None
            if found != (None if old is None else old.encode()):
                return False
            write_durably(path, new.encode())
        return True

    def get_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was remembered, if it is still there, whole."""
        digest = self.get(kind, key)
        return self.find_complete(digest) if digest else None

    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had.

        Raises:
            BadReference: the folder cannot be read.
        """
        folder = self.root / "checkpoints"
        with reading_errors(folder):
            try:
                return sorted(path.name for path in folder.iterdir() if DIGEST.fullmatch(path.name))
            except FileNotFoundError:
                return []

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint of the store but those whose manifest is damaged."""
        return [found for digest in self.digests() if (found := self.find(digest))]

    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use."""
        return list(folder_garbage(self.root, self.manifest, before))

    def _held(self, sha256: str) -> Path | None:
        location = self.get("files", sha256)
        path = self.root / "checkpoints" / location if location else None
        return path if path and path.is_file() else None
