"""The checkpoint store in a folder.

<root>/checkpoints/<digest>/   the files and their manifest
<root>/staging/<key>/          work in progress; a rerun of the same work goes on in it
<root>/results/<kind>/<key>    small documents that name finished work, so that it is not done twice
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.checkpoints import MANIFEST, Checkpoint, decode_document
from components.sources import FolderSource
from components.store.base import Store
from components.store.folder.garbage import folder_garbage
from components.store.folder.writer import FolderCheckpointWriter
from components.store.garbage import DIGEST, FILES, Garbage
from components.system import discard, disk_errors, exclusive_lock, publish, reading_errors, restore, write_durably


@dataclass(frozen=True, kw_only=True)
class FolderStore(Store):
    """A store in a folder (see `components.store.Store`)."""

    root: Path

    @property
    def uri(self) -> str:
        """`file://` and the folder."""
        return self.root.as_uri()

    @property
    def staging(self) -> Path:
        """Beside the checkpoints, so that publishing is a rename."""
        return self.root / "staging"

    def folder(self, digest: str) -> Path:
        """Where a checkpoint of this digest lies, or would."""
        return self.root / "checkpoints" / digest

    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it (see `Store.manifest`)."""
        folder = self.folder(digest)
        with reading_errors(folder / MANIFEST):
            if not (folder / MANIFEST).is_file():
                return None
        found = Checkpoint.read(folder / MANIFEST)
        # The store may have moved since, or be mounted at another path.
        return found.moved_to(folder.as_uri()) if found.digest == digest else None

    def source_of(self, checkpoint: Checkpoint) -> FolderSource:
        """The folder of a checkpoint."""
        return FolderSource(path=self.folder(checkpoint.digest))

    @contextmanager
    def local(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """The store's own folder of a checkpoint (see `Store.local`)."""
        if self.find(checkpoint.digest) is None:
            raise checkpoint.missing_error()
        yield self.folder(checkpoint.digest)

    def writer(self, workdir: Path) -> FolderCheckpointWriter:
        """Write a checkpoint into `workdir` itself (see `Store.writer`)."""
        return FolderCheckpointWriter(workdir, self._file_of)

    def publish(self, checkpoint: Checkpoint) -> Checkpoint:
        """Move a folder under the digest of the checkpoint in it (see `Store.publish`)."""
        folder, final = FolderSource.at(checkpoint.uri).path, self.folder(checkpoint.digest)
        if not folder.is_relative_to(self.staging.resolve()):
            raise AssertionError(f"{folder} is not in {self.staging}: it may be somebody's, and would be moved")
        checkpoint = checkpoint.moved_to(final.as_uri())
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
            self.put(FILES, file.sha256, f"{checkpoint.digest}/{file.path}")
        return checkpoint

    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        path = self._document(kind, key)
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, document.encode())

    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old` (see `Store.compare_and_swap`)."""
        path = self._document(kind, key)
        with disk_errors(self.root), exclusive_lock(path, wait=True):
            found = path.read_bytes() if path.exists() else None
            if found != (None if old is None else old.encode()):
                return False
            write_durably(path, new.encode())
        return True

    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had (see `Store.digests`)."""
        folder = self.root / "checkpoints"
        with reading_errors(folder):
            try:
                return sorted(path.name for path in folder.iterdir() if DIGEST.fullmatch(path.name))
            except FileNotFoundError:
                return []

    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use."""
        return list(folder_garbage(self.root, self.manifest, before))

    def _document(self, kind: str, key: str) -> Path:
        return self.root / "results" / kind / key

    def _read(self, kind: str, key: str) -> str | None:
        path = self._document(kind, key)
        with reading_errors(path):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        return decode_document(content, str(path))

    def _file_of(self, sha256: str) -> Path | None:
        """A file of a published checkpoint whose content has this digest."""
        location = self.get(FILES, sha256)
        path = self.root / "checkpoints" / location if location else None
        return path if path and path.is_file() else None
