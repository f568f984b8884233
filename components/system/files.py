"""Files and folders that are complete or absent, whenever the machine stops, and errors of disks for people."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import BadReference, OutputConflict, ServiceUnavailable, StorageFull

BLOCK_BYTES = 8 << 20
"""Bytes to read at once where a large file is read from its beginning to its end."""


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn a file that cannot be read into an error a user can act on.

    Raises:
        BadReference: the file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise BadReference(
            f"{path} cannot be read ({error.strerror})", hint="check that it is there and that you may read it"
        ) from None


_UNWRITABLE = (
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)

_FAILING = (errno.EIO, errno.EROFS, errno.ESTALE, errno.EFBIG)


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk or a refused write into an error a user can act on.

    Args:
        target: what is written, for the message of an error.

    Raises:
        StorageFull: no space or quota is left.
        OutputConflict: a file may not be written there.
        ServiceUnavailable: the disk fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"the disk that holds {target} is full",
                hint="free some space, or write elsewhere, and run the same command again: it goes on where it stopped",
            ) from None
        if error.errno in _UNWRITABLE and error.filename is not None:
            raise OutputConflict(
                f"{error.filename} cannot be written ({error.strerror})", hint="choose a folder that you may write to"
            ) from None
        if error.errno in _FAILING:
            raise ServiceUnavailable(
                f"the disk that holds {target} fails ({error.strerror})",
                hint="check the disk; then run the same command again: it goes on where it stopped",
            ) from None
        raise


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is, after a crash, either as before or complete; of several writers at once the last wins."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def publish(staging: Path, final: Path) -> None:
    """Make a finished staging folder visible under its final name, all of it at once.

    Raises:
        OutputConflict: there is something under that name.
    """
    _sync_files(staging)
    try:
        staging.replace(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise OutputConflict(
                f"{final} was filled by someone else while its content was being made",
                hint=f"choose another output, or remove it; the finished work is kept in {staging}",
            ) from None
        raise
    sync_folder(final.parent)


def restore(staging: Path, final: Path, *, last: str) -> None:
    """Replace the files of a damaged folder by those of a finished staging folder, the file named `last` at the end."""
    _sync_files(staging)
    for path in sorted(staging.iterdir(), key=lambda path: path.name == last):
        path.replace(final / path.name)
    sync_folder(final)
    discard(staging)


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal digits.

    Raises:
        BadReference: the file cannot be read.
    """
    with reading_errors(path):
        file = path.open("rb")
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk that holds a folder, or will once it is made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
