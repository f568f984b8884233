"""What a store in a folder holds that no manifest names."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from components.checkpoint import MANIFEST, Checkpoint
from components.garbage import DIGEST, WORK, Garbage, points_nowhere, unused_claims, unused_file, unused_folders

HALF_WRITTEN = re.compile(r"\..+\.(part|blocks|finished)")


def folder_garbage(root: Path, find: Callable[[str], Checkpoint | None], before: datetime) -> Iterator[Garbage]:
    """What was last written before `before`, and is in nobody's use.

    Args:
        root: of the store.
        find: the store's own.
        before: a day ago, say; younger things may be part of work that goes on.
    """
    staging, checkpoints = root / "staging", root / "checkpoints"
    yield from unused_folders(staging, WORK, "work that was broken off", before)
    yield from unused_folders(checkpoints, DIGEST, "files without a manifest", before, _has_no_manifest)
    for place in (staging, checkpoints):
        yield from unused_claims(place, before)
    for folder in sorted(checkpoints.glob("*")):
        if not _has_no_manifest(folder):
            yield from _half_written(folder, before)
    for kind in sorted((root / "results").glob("*")):
        yield from _half_written(kind, before)
        for path in sorted(kind.glob("[!.]*")):
            yield from unused_file(path, "points to what is gone", before, lambda path=path: _is_dead(path, root, find))  # type: ignore[misc]


def _has_no_manifest(folder: Path) -> bool:
    return not (folder / MANIFEST).exists()


def _half_written(folder: Path, before: datetime) -> Iterator[Garbage]:
    for path in sorted(folder.glob(".*")):
        if HALF_WRITTEN.fullmatch(path.name) and path.is_file():
            yield from unused_file(path, "half-written file", before, lambda: True)


def _is_dead(path: Path, root: Path, find: Callable[[str], Checkpoint | None]) -> bool:
    def is_file(place: str) -> bool:
        return (root / "checkpoints" / place).is_file()

    try:
        document = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return points_nowhere(path.parent.name, document, find, is_file)
