"""Where a checkpoint's files come from: one protocol, whatever the place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from components.errors import BadCheckpoint

if TYPE_CHECKING:
    from components.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a checkpoint, as its source lists it."""

    path: str
    """Relative, with `/` between folders, and never outside the checkpoint: sources refuse such names."""
    size: int
    sha256: str | None = None
    """Where the source knows it."""
    git_blob: str | None = None
    """SHA-1 of the git blob, which the hub has for files outside LFS."""
    version: str | None = None
    """Changes when the content may have changed, where nothing better is known."""


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
    def manifest(self) -> "Checkpoint | None":
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


# Safetensors weights, JSON, tokenizer files, model card and licence; never pickles, never code.
ALLOWED_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".md", ".tiktoken")
ALLOWED_NAMES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "README")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")


def belongs(path: str) -> bool:
    """Whether a file is part of what a checkpoint may carry, by its name alone."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and (name.endswith(ALLOWED_SUFFIXES) or name in ALLOWED_NAMES)


def check_path(path: str, where: str) -> str:
    """Return `path` if it stays inside its checkpoint.

    Raises:
        BadCheckpoint: it is absolute, climbs out, or has characters no checkpoint's file needs.
    """
    if not is_plain(path):
        raise BadCheckpoint(
            f"{where} names the file {path!r}, which is not a plain relative path inside the checkpoint",
            do="do not use this checkpoint; get it again from a source you trust",
        )
    return path


def is_plain(path: str) -> bool:
    """Whether a relative path stays inside its folder and has only characters that a checkpoint's file needs."""
    characters = path.isprintable() and "\\" not in path and "%" not in path
    return characters and not any(part in ("", ".", "..") for part in path.split("/"))
