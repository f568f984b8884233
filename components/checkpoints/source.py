"""The protocol of what a checkpoint can be read from."""

from typing import Protocol

from components.checkpoints.files import SourceFile
from components.checkpoints.manifest import Checkpoint


class Source(Protocol):
    """A checkpoint that can be looked at by ranges and copied file by file."""

    @property
    def reference(self) -> str:
        """What names this source again: a hub revision is pinned to its commit here."""

    @property
    def name(self) -> str:
        """Short, for people."""

    @property
    def uri(self) -> str:
        """Where it lies, as manifests say it."""

    @property
    def manifest(self) -> Checkpoint | None:
        """What Recycle wrote beside the files, if it did."""

    @property
    def origin(self) -> dict[str, str]:
        """What the manifest records of it, for example repository, revision asked for and commit."""

    def files(self) -> tuple[SourceFile, ...]:
        """Every file that belongs to the checkpoint, sorted by path."""

    def pickles(self) -> tuple[str, ...]:
        """Names of weight files that are there but never opened, for the error that says so."""

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of a file from `start`, or up to its end."""

    def read_into(self, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with a file's bytes from `start`; threads may do this side by side."""
