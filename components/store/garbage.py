"""What work that was broken off left behind: found first, shown to the user, and removed only if it is still unused."""

import fcntl
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.checkpoints import MANIFEST, Checkpoint
from components.errors import BadCheckpoint, BadReference, OutputConflict
from components.system import discard, exclusive_lock

DIGEST = re.compile(r"[0-9a-f]{64}")
WORK = re.compile(r"[a-z-]+-[0-9a-f]{64}")
"""Names a piece of work; what has another name was not made here, and is nobody's garbage."""

FILES = "files"
"""The kind of result that says where the file with a digest lies."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something that no manifest names."""

    location: str
    reason: str
    size: int
    """Bytes that come free."""
    modified: datetime
    """When the newest part of it was written."""
    remove: Callable[[], bool]
    """Remove it; False where it came into use meanwhile, and stays.

    Raises:
        RecycleError: it cannot be removed.
    """


def points_nowhere(
    kind: str, document: str, find: Callable[[str], Checkpoint | None], is_file: Callable[[str], bool]
) -> bool:
    """Whether a document of the store names a checkpoint, or a file of one, that is gone.

    Args:
        kind: The kind that the document was kept under.
        document: Its text.
        find: The store's `manifest`.
        is_file: Tells whether a document of the kind `FILES` names a file of a published checkpoint.
    """
    if kind == FILES:
        return not is_file(document)
    return DIGEST.fullmatch(document) is not None and is_gone(document, find)


def is_gone(digest: str, find: Callable[[str], Checkpoint | None]) -> bool:
    """Whether a store has no checkpoint of this digest; one that is damaged, or may not be read, is there."""
    try:
        return find(digest) is None
    except (BadCheckpoint, BadReference):
        return False


def unused_folders(
    parent: Path,
    name: re.Pattern[str],
    reason: str,
    before: datetime,
    is_unused: Callable[[Path], bool] = lambda folder: True,
) -> Iterator[Garbage]:
    """Folders directly in `parent` that nobody holds, and whose newest file is from before `before`.

    Args:
        parent: The folder around them, which may be missing.
        name: What the names of the folders that are looked at match.
        reason: What the user is told of them.
        before: What was written since stays.
        is_unused: Is asked of each folder, and again when it is removed.
    """
    for folder in sorted(parent.glob("*")):
        with passing_over(folder):
            if not (name.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink() and is_unused(folder)):
                continue
            size, modified = _measured(folder)
            if modified < before and not _is_claimed(folder):
                yield Garbage(
                    location=str(folder),
                    reason=reason,
                    size=size,
                    modified=modified,
                    remove=lambda folder=folder: _remove_unused(folder, before, is_unused),  # type: ignore[misc]
                )


def unused_claims(parent: Path, before: datetime) -> Iterator[Garbage]:
    """Files in `parent` that stood for the claim of a process that was killed (see `exclusive_lock`)."""
    for lock in sorted(parent.glob(".*.lock")):
        folder = parent / lock.name[1 : -len(".lock")]
        with passing_over(lock):
            _, modified = _measured(lock)
            # A staging folder is removed together with its claim.
            alone = not folder.exists() or (folder / MANIFEST).is_file()
            if modified < before and alone and not _is_claimed(folder):
                yield Garbage(
                    location=str(lock),
                    reason="claim of a process that was killed",
                    size=0,
                    modified=modified,
                    remove=lambda folder=folder: _remove_claim(folder),  # type: ignore[misc]
                )


def unused_file(path: Path, reason: str, before: datetime, is_unused: Callable[[], bool]) -> Iterator[Garbage]:
    """The file at `path`, if it is from before `before` and `is_unused` says so, now and when it is removed."""

    def remove() -> bool:
        with _removing(path):
            if _measured(path)[1] >= before or not is_unused():
                return False
            path.unlink(missing_ok=True)
        return True

    with passing_over(path):
        size, modified = _measured(path)
        if modified < before and is_unused():
            yield Garbage(location=str(path), reason=reason, size=size, modified=modified, remove=remove)


@contextmanager
def passing_over(path: Path) -> Iterator[None]:
    """What may not be looked at is nobody's garbage here, and does not hide the rest."""
    try:
        yield
    except OSError as error:
        logger.warning("%s is passed over: %s cannot be read (%s)", path, error.filename or path, error.strerror)


def _remove_unused(folder: Path, before: datetime, is_unused: Callable[[Path], bool]) -> bool:
    with _removing(folder):
        try:
            with exclusive_lock(folder, wait=False):
                if _measured(folder)[1] >= before or not is_unused(folder):
                    return False
                discard(folder)
        except OutputConflict:
            return False
    return True


def _remove_claim(folder: Path) -> bool:
    with _removing(folder):
        try:
            with exclusive_lock(folder, wait=False):
                return True
        except OutputConflict:
            return False


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputConflict(
            f"{error.filename or path} cannot be removed ({error.strerror})",
            hint="run `recycle store gc` as the user whose it is, or on a disk that can be written",
        ) from None


def _is_claimed(folder: Path) -> bool:
    """Whether a process holds the right to write `folder`, or to read it."""
    try:
        with folder.with_name(f".{folder.name}.lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _measured(path: Path) -> tuple[int, datetime]:
    """Bytes that removing `path` frees, and when the newest thing in it was written."""
    size, newest = 0, 0.0
    for entry in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            stat = entry.lstat()
            newest = max(newest, stat.st_mtime)
            size += stat.st_size if stat.st_nlink == 1 and not entry.is_dir() else 0
    return size, datetime.fromtimestamp(newest, UTC)
