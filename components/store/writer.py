"""A checkpoint that is being written: invisible, resumable file by file, and published as a whole or never."""

from types import TracebackType
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from components.checkpoints import Source


class Finished(BaseModel):
    """What is kept of a file that is complete, so that a rerun need not make it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str
    note: str = ""
    """What whoever wrote it wants to know again of it, in their own words."""
    etag: str = ""
    """What an S3 server calls this version."""


class FileWriter(Protocol):
    """One file of a checkpoint while several threads write it; used as a context manager, incomplete until `finish`."""

    @property
    def present(self) -> frozenset[int]:
        """Offsets of the blocks that an earlier try wrote."""

    def __enter__(self) -> "FileWriter": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data` at `offset`. Every byte once; where one write begins another ended."""

    def read_back(self) -> str:
        """sha256 of all that was written, by reading it; nothing can be written any more."""

    def discard(self) -> None:
        """Forget all that was written, now and before."""

    def finish(self, sha256: str, note: str = "") -> None:
        """Make the file complete, for a rerun to find."""


class CheckpointWriter(Protocol):
    """The files of one checkpoint before it is published."""

    smallest_write: int
    """Bytes that each write but a file's last must have, 0 for any number."""

    @property
    def source(self) -> Source:
        """What was written so far, to be read again."""

    def finished(self, path: str) -> Finished | None:
        """What is known of a file that an earlier try, or this one, completed and that is still as it was."""

    def recover(self, path: str, size: int, sha256: str) -> bool:
        """Keep a file of this content that an earlier try completed, and was killed before it could say so."""

    def adopt(self, path: str, size: int, sha256: str) -> bool:
        """Take a file of this content from the store instead of writing it; False where the store has none."""

    def discard(self) -> None:
        """Forget all files that were written."""

    def create(self, path: str, size: int, *, block: int | None = None) -> FileWriter:
        """Begin a file of `size` bytes.

        Args:
            path: Its name.
            size: How many bytes it will have.
            block: Bytes of every write but the last, given where what an earlier try wrote is to be kept.
        """
