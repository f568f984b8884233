"""A large file while it is being written."""

import errno
import os
from pathlib import Path

PAGE = 4096
"""Bytes to whose multiples direct writes must be aligned, on every file system that has them."""


class ShardFile:
    """A new file of known size that several threads fill, each its own bytes.

    Whole pages go past the page cache where the file system allows it: a copy there costs more than the arithmetic,
    and would push out the inputs. `close` ends it; `finish` makes the content durable.
    """

    def __init__(self, path: Path, size: int, *, fresh: bool = True) -> None:
        """Open the file.

        Args:
            path: the file, made where it is not there.
            size: bytes that it will have.
            fresh: whether to begin anew; off keeps what the file holds.

        Raises:
            OSError: the disk is full, or the file may not be written.
        """
        self._cached = os.open(path, os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if fresh else 0), 0o644)
        self._direct: int | None = None
        try:
            if size and fresh:
                _reserve(self._cached, size)
            self._direct = _open_direct(path)
        except BaseException:
            os.close(self._cached)
            raise

    def close(self) -> None:
        """Close the file as it is."""
        os.close(self._cached)
        if self._direct is not None:
            os.close(self._direct)

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data` at `offset`; quick where its address and `offset` are the same modulo PAGE.

        Raises:
            OSError: it cannot be written.
        """
        head = min(-offset % PAGE, len(data))
        whole = (len(data) - head) // PAGE * PAGE
        if whole and self._write_direct(offset + head, data[head : head + whole]):
            _write_all(self._cached, offset, data[:head])
            _write_all(self._cached, offset + head + whole, data[head + whole :])
        else:
            _write_all(self._cached, offset, data)

    def finish(self) -> None:
        """Make what was written survive a crash."""
        os.fsync(self._cached)

    def _write_direct(self, offset: int, data: memoryview) -> bool:
        if self._direct is None:
            return False
        try:
            _write_all(self._direct, offset, data)
        except OSError as error:
            if error.errno != errno.EINVAL:  # which is how a file system, or an address, says that it cannot
                raise
            return False
        return True


def _reserve(descriptor: int, size: int) -> None:
    """Reserve the space at once: a full disk shows before the work, and threads need not wait while the file grows."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.ftruncate(descriptor, size)


def _open_direct(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except (OSError, AttributeError):  # AttributeError: a system without O_DIRECT
        return None


def _write_all(descriptor: int, offset: int, data: memoryview) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        offset, data = offset + written, data[written:]
