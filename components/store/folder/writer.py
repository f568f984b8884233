"""A checkpoint that is being written into a folder: complete files by name, everything else under hidden names."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from components.sources import FolderSource
from components.store.writer import Finished
from components.system import ShardFile, discard, sha256_file, sync_folder, write_durably

HALF_WRITTEN = re.compile(r"\..+\.(part|blocks|finished)")
"""Names what only a rerun needs."""


def staging_beside(output: Path, key: str) -> Path:
    """A folder beside `output` for what it will hold, the same one for the same work.

    Those of other work for the same output, which was broken off, are removed.

    Args:
        output: A folder whose lock the caller holds.
        key: Names the work, in hexadecimal.
    """
    staging = output.with_name(f".{output.name}.{key[:16]}.partial")
    ours = re.compile(rf"\.{re.escape(output.name)}\.[0-9a-f]{{16}}\.partial")
    for other in output.parent.iterdir():
        if ours.fullmatch(other.name) and other != staging:
            discard(other)
    staging.mkdir(exist_ok=True)
    return staging


class FolderCheckpointWriter:
    """Writes a checkpoint into a folder (see `components.store.CheckpointWriter`)."""

    smallest_write = 0

    def __init__(self, folder: Path, held: Callable[[str], Path | None] = lambda sha256: None) -> None:
        """Write into a folder.

        Args:
            folder: Where the files go; it is there already.
            held: Gives the file of the store whose content has a sha256, if there is one.
        """
        self.folder = folder
        self._held = held

    @property
    def source(self) -> FolderSource:
        """What was written so far."""
        return FolderSource(path=self.folder, bare=True)

    def finished(self, path: str) -> Finished | None:
        """What is known of a file that is complete and still has the same bytes, all of which are read."""
        file, record = self.folder / path, _record(self.folder, path)
        if not (file.is_file() and record.is_file()):
            return None
        try:
            finished = Finished.model_validate_json(record.read_bytes())
        except ValidationError:  # of a machine that lost its power
            return None
        return finished if file.stat().st_size == finished.size and sha256_file(file) == finished.sha256 else None

    def adopt(self, path: str, size: int, sha256: str) -> bool:
        """Link a file of the store that has this content, after reading all of it."""
        held = self._held(sha256)
        if held is None or held.stat().st_size != size or sha256_file(held) != sha256:
            return False
        file = self.folder / path
        file.unlink(missing_ok=True)
        os.link(held, file)
        _keep(self.folder, path, Finished(size=size, sha256=sha256))
        return True

    def create(self, path: str, size: int, *, block: int | None = None) -> "FolderFileWriter":
        """Begin a file."""
        return FolderFileWriter(self.folder, path, size, block)

    def recover(self, path: str, size: int, sha256: str) -> bool:
        """Keep a file of this content, all of which is read, that is in its place without a record."""
        file = self.folder / path
        if not file.is_file() or file.stat().st_size != size or sha256_file(file) != sha256:
            return False
        _keep(self.folder, path, Finished(size=size, sha256=sha256))
        return True

    def discard(self) -> None:
        """Remove the folder."""
        discard(self.folder)

    def tidy(self) -> None:
        """Remove what only a rerun would need: after publication, or a crash would lose it."""
        for path in self.folder.iterdir():
            if HALF_WRITTEN.fullmatch(path.name):
                path.unlink()


class FolderFileWriter:
    """A file that is visible in its folder once it is complete (see `components.store.FileWriter`)."""

    def __init__(self, folder: Path, path: str, size: int, block: int | None) -> None:
        self._folder, self._path, self._size, self._block = folder, path, size, block or size
        self._part, self._journal = folder / f".{path}.part", folder / f".{path}.blocks"
        self.present = self._earlier() if block else frozenset()
        if not self.present:
            self._journal.unlink(missing_ok=True)
        self._file = ShardFile(self._part, size, fresh=not self.present)
        self._written = self._journal.open("ab", buffering=0) if block else None

    def __enter__(self) -> "FolderFileWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._written is not None:
            self._written.close()

    def write(self, offset: int, data: memoryview) -> None:
        """Write at an offset; quick where the address of `data` and `offset` are the same modulo a page."""
        self._file.write(offset, data)
        if self._written is not None:
            self._written.write(b"%d\n" % offset)  # appended whole, by the system itself

    def read_back(self) -> str:
        """sha256 of the file."""
        return sha256_file(self._part)

    def discard(self) -> None:
        """Remove the file."""
        self._part.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def finish(self, sha256: str, note: str = "") -> None:
        """Make the file visible in its folder, and survive a crash."""
        self._file.finish()
        self._part.replace(self._folder / self._path)
        sync_folder(self._folder)
        _keep(self._folder, self._path, Finished(size=self._size, sha256=sha256, note=note))
        self._journal.unlink(missing_ok=True)

    def _earlier(self) -> frozenset[int]:
        if not (self._part.is_file() and self._journal.is_file() and self._part.stat().st_size == self._size):
            return frozenset()
        # A machine that lost its power may have cut off a line, or left zeros.
        lines = self._journal.read_bytes().split(b"\n")[:-1]
        offsets = {int(line) for line in lines if line.isdigit()}
        return frozenset(offset for offset in offsets if offset < self._size and offset % self._block == 0)


def _record(folder: Path, path: str) -> Path:
    return folder / f".{path}.finished"


def _keep(folder: Path, path: str, finished: Finished) -> None:
    write_durably(_record(folder, path), finished.model_dump_json().encode())
