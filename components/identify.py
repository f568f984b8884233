"""The manifest of a checkpoint that lies in a folder, made by reading its bytes once."""

from pathlib import Path

from components.checkpoint import Checkpoint, File, describe
from components.errors import DigestMismatch
from components.folder import FolderSource
from components.layout import Layout, read_layout
from components.progress import Progress
from components.work import sha256_file


def identify(layout: Layout, folder: Path) -> Checkpoint:
    """Describe the checkpoint in `folder`; digests that its manifest records are taken as they are."""
    unknown = sum(file.size for file in layout.files if file.sha256 is None)
    with Progress(f"reading {layout.source.name}", unknown) as progress:
        files = tuple(
            File(
                path=file.path,
                size=file.size,
                sha256=file.sha256 or sha256_file(folder / file.path, progress.advance),
            )
            for file in layout.files
        )
    source = layout.source
    derivation = source.manifest.derivation if isinstance(source, FolderSource) and source.manifest else None
    return describe(
        layout,
        name=source.name,
        uri=folder.resolve().as_uri(),
        files=files,
        origin=source.origin,
        derivation=derivation,
    )


def verify(folder: Path) -> Checkpoint:
    """Read every byte of a checkpoint and compare it with its manifest, if it has one.

    Raises:
        BadCheckpoint: its files contradict each other.
        DigestMismatch: a file is not what the manifest says.
    """
    source = FolderSource(path=folder)
    layout = read_layout(source)
    checkpoint = identify(layout, folder)
    if source.manifest is None:
        return checkpoint
    with Progress(f"verifying {source.name}", sum(file.size for file in checkpoint.files)) as progress:
        for file in checkpoint.files:
            check_digest(folder / file.path, file.sha256, sha256_file(folder / file.path, progress.advance))
    return checkpoint


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
