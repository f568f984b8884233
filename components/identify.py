"""The manifest of a checkpoint that lies in a folder, made by reading its bytes once."""

from pathlib import Path

from components.checkpoint import Checkpoint, File, describe
from components.errors import DigestMismatch
from components.folder import FolderSource
from components.layout import Layout, read_layout
from components.progress import Progress
from components.source import SourceFile
from components.work import sha256_file


def identify(layout: Layout, folder: Path) -> Checkpoint:
    """Describe the checkpoint in `folder` by reading every byte of it.

    Raises:
        DigestMismatch: a file is not what the manifest in the folder says.
    """
    with Progress(f"reading {layout.source.name}", sum(file.size for file in layout.files)) as progress:
        files = tuple(_read(file, folder, progress) for file in layout.files)
    return described(layout, folder, files)


def described(layout: Layout, folder: Path, files: tuple[File, ...]) -> Checkpoint:
    """Describe the checkpoint in `folder`, whose bytes came to the digests in `files`."""
    source = layout.source
    manifest = source.manifest if isinstance(source, FolderSource) else None
    return describe(
        layout,
        name=source.name,
        uri=folder.resolve().as_uri(),
        files=files,
        origin=source.origin,
        derivation=manifest.derivation if manifest else None,
    )


def _read(file: SourceFile, folder: Path, progress: Progress) -> File:
    sha256 = sha256_file(folder / file.path, progress.advance)
    if file.sha256 is not None:
        check_digest(folder / file.path, file.sha256, sha256)
    return File(path=file.path, size=file.size, sha256=sha256)


def verify(folder: Path) -> Checkpoint:
    """Read every byte of the checkpoint in `folder` (see `identify`)."""
    return identify(read_layout(FolderSource(path=folder)), folder)


def check_digest(path: Path, expected: str, found: str) -> None:
    """Compare two digests of a file.

    Raises:
        DigestMismatch: they differ.
    """
    if found != expected:
        raise DigestMismatch(
            f"{path} has the sha256 {found}, but {expected} is recorded for it: its bytes were changed or damaged",
            do="remove it and get or make the checkpoint again",
        )
