"""What a store in a folder holds that no manifest names, or that has the manifest of another digest."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from components.checkpoints import MANIFEST, Checkpoint
from components.errors import RecycleError
from components.store.folder.writer import HALF_WRITTEN
from components.store.garbage import (
    DIGEST,
    WORK,
    Garbage,
    passing_over,
    points_nowhere,
    unused_claims,
    unused_file,
    unused_folders,
)


def folder_garbage(root: Path, find: Callable[[str], Checkpoint | None], before: datetime) -> Iterator[Garbage]:
    """Find what was last written before `before`, and is in nobody's use.

    Args:
        root: The store's folder.
        find: The store's `manifest`, which raises for a checkpoint that is damaged.
        before: A day ago, say; younger things may be part of work that goes on.
    """

    def is_unnamed(folder: Path) -> bool:
        return _is_unnamed(folder, find)

    staging, checkpoints = root / "staging", root / "checkpoints"
    yield from unused_folders(staging, WORK, "work that was broken off", before)
    yield from unused_folders(checkpoints, DIGEST, "files without a manifest of this digest", before, is_unnamed)
    for location in (staging, checkpoints):
        yield from unused_claims(location, before)
    for folder in sorted(checkpoints.glob("*")):
        with passing_over(folder):
            if (folder / MANIFEST).exists():
                yield from _half_written(folder, before)
    for kind in sorted((root / "results").glob("*")):
        with passing_over(kind):
            yield from _half_written(kind, before)
        for path in sorted(kind.glob("[!.]*")):
            yield from unused_file(path, "points to what is gone", before, lambda path=path: _is_dead(path, root, find))  # type: ignore[misc]


def _is_unnamed(folder: Path, find: Callable[[str], Checkpoint | None]) -> bool:
    """Whether there is no manifest, or that of a checkpoint which the store has under its own name too."""
    if not (folder / MANIFEST).exists():
        return True
    try:
        digest = Checkpoint.read(folder / MANIFEST).digest
        return digest != folder.name and find(digest) is not None
    except RecycleError:  # a damaged one is there
        return False


def _half_written(folder: Path, before: datetime) -> Iterator[Garbage]:
    for path in sorted(folder.glob(".*")):
        if HALF_WRITTEN.fullmatch(path.name) and path.is_file():
            yield from unused_file(path, "half-written file", before, lambda: True)


def _is_dead(path: Path, root: Path, find: Callable[[str], Checkpoint | None]) -> bool:
    def is_file(location: str) -> bool:
        return (root / "checkpoints" / location).is_file()

    try:
        document = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    return points_nowhere(path.parent.name, document, find, is_file)
