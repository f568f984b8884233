"""The files of a checkpoint by name: which belong to one, and which names are safe."""

from dataclasses import dataclass

from components.errors import BadCheckpoint


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a checkpoint, as its source lists it."""

    path: str
    """Relative, with `/` between folders, and never outside the checkpoint: sources refuse such names."""
    size: int
    sha256: str | None = None
    """The digest in hexadecimal, where the source knows it."""
    git_blob: str | None = None
    """SHA-1 of the git blob, which the hub has for files outside LFS."""
    version: str | None = None
    """A text that changes when the content may have changed, where nothing better is known."""


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
            hint="do not use this checkpoint; get it again from a source you trust",
        )
    return path


def is_plain(path: str) -> bool:
    """Whether a relative path stays inside its folder and has only characters that a checkpoint's file needs."""
    characters = path.isprintable() and "\\" not in path and "%" not in path
    return characters and not any(part in ("", ".", "..") for part in path.split("/"))
