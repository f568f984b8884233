"""Locks between processes, and work that is done once however many processes want it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components.errors import OutputConflict
from components.system.files import discard, disk_errors

Result = TypeVar("Result")


@contextmanager
def exclusive_lock(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the right to write `folder` while inside; another process either waits or is refused.

    The claim is a lock on a file beside the folder, so it ends with the process however that ends.

    Raises:
        OutputConflict: another process holds it and `wait` is off.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    descriptor = _lock(lock, folder, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        # Removed while still held, so that whoever waited finds out below that its file is no longer the one.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def shared_lock(folder: Path, first: Callable[[], None]) -> Iterator[None]:
    """Hold the right to read `folder`, beside others, once nobody holds the right to write it.

    Args:
        folder: need not be there.
        first: done by whoever finds it in nobody's use, with the right to write it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _shared(folder.with_name(f".{folder.name}.lock"), folder, first)
    try:
        yield
    finally:
        os.close(descriptor)


def _shared(lock: Path, folder: Path, first: Callable[[], None]) -> int:
    while True:
        try:
            descriptor = _lock(lock, folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OutputConflict:
            return _lock(lock, folder, fcntl.LOCK_SH)
        try:
            first()
        except BaseException:
            lock.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        # Another may get in between, claim and remove it: flock(2) does not convert a lock in one step.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, lock):
            return descriptor
        os.close(descriptor)


def _lock(lock: Path, folder: Path, operation: int) -> int:
    while True:
        # A shared lock needs a file that can be read, an exclusive one a file that can be written, on NFS.
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, operation)
            if _is_at(descriptor, lock):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise OutputConflict(
                f"another process is writing {folder} right now", hint="wait until it ends, or choose another output"
            ) from None
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder to work in, the same one for the same work, held by one process at a time.

    It stays with what is in it when the work is broken off, so that a rerun goes on, and is gone once it is empty.
    """
    with disk_errors(folder.parent), exclusive_lock(folder, wait=True):
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def get_or_create(folder: Path, find: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
    """Find work that was done before, or do it in a staging folder; of several that want it at once, one does it.

    Args:
        folder: the staging folder, whose name names the work.
        find: finds its result, None while there is none.
        make: does it in the folder, and sees to it that `find` finds the result from then on.
    """
    done = find()
    if done is None:
        with staging(folder):
            done = find()  # whoever held the claim before may have done it
            if done is None:
                done = make(folder)
            discard(folder)
    return done
