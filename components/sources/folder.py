"""A checkpoint in a folder of this machine, with or without a manifest beside its files."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.checkpoints import MANIFEST, PICKLE_SUFFIXES, Checkpoint, SourceFile, belongs, is_plain
from components.errors import BadCheckpoint, BadReference
from components.system import reading_errors


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder as the source of a checkpoint (see `components.checkpoints.Source`)."""

    path: Path
    bare: bool = False
    """Whether the files are to be taken as they are, whatever manifest is there: it is of another try."""

    @classmethod
    def at(cls, uri: str) -> "FolderSource":
        """The folder of a `file://` URI."""
        return cls(path=Path(unquote(urlsplit(uri).path)))

    @cached_property
    def manifest(self) -> Checkpoint | None:
        """The manifest that Recycle wrote beside the files, if it did."""
        path = self.path / MANIFEST
        with reading_errors(path):
            there = path.is_file() and not self.bare
        return Checkpoint.read(path) if there else None

    @property
    def reference(self) -> str:
        """The absolute path."""
        return str(self.path.resolve())

    @property
    def uri(self) -> str:
        """`file://` and the absolute path."""
        return self.path.resolve().as_uri()

    @property
    def name(self) -> str:
        """The manifest's name, else the folder's."""
        return self.manifest.name if self.manifest else self.path.resolve().name

    @property
    def origin(self) -> dict[str, str]:
        """What the manifest says, else the absolute path."""
        return self.manifest.origin if self.manifest else {"kind": "folder", "path": self.reference}

    def is_newer_than_its_manifest(self) -> bool:
        """Whether a file was written since the manifest was; without one, whether there is a file."""
        if self.manifest is None:
            return True
        written = (self.path / MANIFEST).stat().st_mtime_ns
        return any((self.path / file.path).stat().st_mtime_ns > written for file in self.manifest.files)

    def files(self) -> tuple[SourceFile, ...]:
        """Every file of the checkpoint, directly in the folder, sorted by name.

        Raises:
            BadReference: the folder cannot be read.
            BadCheckpoint: a file that the manifest lists is missing or has another size.
        """
        self._refuse_broken_links()
        try:
            stats = {
                entry.name: entry.stat()
                for entry in sorted(self.path.iterdir())
                if entry.name != MANIFEST and belongs(entry.name) and is_plain(entry.name) and entry.is_file()
            }
        except OSError as error:
            raise BadReference(
                f"{self.path} cannot be read as a folder ({error.strerror})",
                hint="give the folder that holds config.json",
            ) from None
        found = tuple(
            SourceFile(path=name, size=stat.st_size, version=f"{stat.st_ino}-{stat.st_mtime_ns}")
            for name, stat in stats.items()
        )
        return self.manifest.match_files(found, self.reference) if self.manifest else found

    def _refuse_broken_links(self) -> None:
        with reading_errors(self.path):
            broken = [entry.name for entry in self.path.glob("*") if entry.is_symlink() and not entry.exists()]
        for name in filter(belongs, sorted(broken)):
            raise BadCheckpoint(
                f"{self.path / name} is a link to {(self.path / name).readlink()}, where nothing is",
                hint="get the file again (of the hub's cache: hf download fetches what is missing), or remove the link",
            )

    def pickles(self) -> tuple[str, ...]:
        """Names of pickled weights in the folder."""
        return tuple(sorted(entry.name for entry in self.path.iterdir() if entry.name.endswith(PICKLE_SUFFIXES)))

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of a file from `start`, or up to its end.

        Raises:
            BadReference: the file cannot be read.
        """
        with reading_errors(self.path / path), (self.path / path).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def read_into(self, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with a file's bytes from `start`.

        Raises:
            BadReference: the file cannot be read.
            BadCheckpoint: it ends before.
        """
        with reading_errors(self.path / path), (self.path / path).open("rb", buffering=0) as file:
            while buffer:
                read = os.preadv(file.fileno(), [buffer], start)
                if not read:
                    raise BadCheckpoint(
                        f"{self.path / path} ends at byte {start}, before its header says: it was cut short meanwhile",
                        hint="get the checkpoint again",
                    )
                start, buffer = start + read, buffer[read:]
