"""The digests of the inputs, taken while their bytes go by."""

import hashlib
import itertools
import zlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from components.errors import DigestMismatch
from components.folder import BLOCK_BYTES
from components.source import Source, SourceFile
from components.transfer.spans import Read


class InputDigests:
    """sha256 of every weight file of one model.

    Bytes that go by in file order are not read again; those that a transfer never asks for, or asks for in another
    order than the file has them, are read here. What is read twice must be the same twice, or else the bytes that were
    digested would not be those that were computed with. Used by one thread at a time.
    """

    def __init__(self, source: Source, files: tuple[SourceFile, ...], reads: Iterable[Read] = ()) -> None:
        """Begin.

        Args:
            source: the model.
            files: those to digest.
            reads: what will be offered, as far as it is known, in any order.
        """
        self._source = source
        self._sizes = {file.path: file.size for file in files}
        by_file: defaultdict[str, list[Read]] = defaultdict(list)
        for read in reads:
            by_file[read.file].append(read)
        self._cuts = {
            path: sorted({cut for read in by_file[path] for cut in (read.offset, read.offset + read.length)})
            for path in self._sizes
        }
        self._files = {path: self._begin(path) for path in self._sizes}
        self._before: list[tuple[str, _FileDigest]] = []

    def offer(self, path: str, offset: int, data: memoryview) -> None:
        """Take note of bytes that were read from `offset` of a file.

        Raises:
            DigestMismatch: they are not those that were digested before.
            RecycleError: bytes before them cannot be read.
        """
        self._files[path].offer(offset, data)

    def again(self, paths: Iterable[str]) -> None:
        """Be told that files are going to be offered once more: they must come to the same digest then."""
        for path in paths:
            self._before.append((path, self._files[path]))
            self._files[path] = self._begin(path)

    def finish(self) -> dict[str, str]:
        """Digest by path, after reading what was never offered.

        Raises:
            DigestMismatch: a file that was offered twice was not the same twice.
            RecycleError: it cannot be read.
        """
        digests = {path: digest.finish() for path, digest in self._files.items()}
        for path, digest in self._before:
            if digest.finish() != digests[path]:
                raise _changed(self._source, path)
        return digests

    def _begin(self, path: str) -> "_FileDigest":
        return _FileDigest(self._source, path, self._sizes[path], self._cuts[path])


class _FileDigest:
    def __init__(self, source: Source, path: str, size: int, cuts: list[int]) -> None:
        self._source, self._path, self._size = source, path, size
        self._cuts = cuts
        self._sha256 = hashlib.sha256()
        self._position = 0
        self._checksums: dict[tuple[int, int], int] = {}
        """CRC-32 of what was read here, by begin and end, for when it is offered."""

    def offer(self, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        if end > self._position:
            self._catch_up(offset)
            self._sha256.update(data[self._position - offset :])
            self._position = end
        elif (offset, end) in self._checksums and self._checksums[offset, end] != zlib.crc32(data):
            raise _changed(self._source, self._path)

    def finish(self) -> str:
        self._catch_up(self._size)
        return self._sha256.hexdigest()

    def _catch_up(self, offset: int) -> None:
        """Read up to `offset`, in the pieces that will be offered later."""
        if offset <= self._position:
            return
        inside = self._cuts[bisect_left(self._cuts, self._position) : bisect_left(self._cuts, offset)]
        for begin, end in itertools.pairwise(sorted({self._position, *inside, offset})):
            self._checksums[begin, end] = self._read_up_to(end)

    def _read_up_to(self, end: int) -> int:
        checksum = 0
        block = memoryview(bytearray(min(BLOCK_BYTES, end - self._position)))
        while self._position < end:
            part = block[: end - self._position]
            self._source.read_into(self._path, self._position, part)
            self._sha256.update(part)
            checksum = zlib.crc32(part, checksum)
            self._position += len(part)
        return checksum


def _changed(source: Source, path: str) -> DigestMismatch:
    return DigestMismatch(
        f"{path} of {source.reference} was read twice, and was not the same twice: its bytes were changed or damaged "
        "on the way",
        do="run the same command again; if it repeats, look for the fault in the network or the server",
    )
