"""The digests of the inputs, taken while their bytes go by.

A sha256 runs through a file from its first byte to its last, and a transfer reads a file in the order of the result's
tensors. What goes by is cut into segments, wherever any read of the plan begins or ends:

    file       |--- a ---|--- b ---|--- c ---|--- d ---|
    offered         b         d         b         a          (c: never)

1. `offer(b)`: a is before it and was not digested yet, so a is read here (`_catch_up`), digested, and its CRC-32 kept,
   since a will be offered later. Then b is digested.
2. `offer(d)`: c is read here likewise.
3. `offer(b)` again, and `offer(a)`: both are digested already. What was computed with must be what was digested, so
   their CRC-32 must be the one that was kept (`_check_repeat`).
4. `expect(marks)`: an earlier try finished a shard, and noted how far each file's digest had come (`Mark`). When the
   digest comes to that byte it must be the same (`_check_mark`): then the shard is made of these very inputs.
5. `finish()` reads what is left.
"""

import hashlib
import itertools
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict

from components.checkpoints import Source, SourceFile
from components.errors import DigestMismatch
from components.system import BLOCK_BYTES
from components.transfer.spans import Read


class Mark(BaseModel):
    """What the first bytes of a file came to, for a later run to compare with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    position: int
    """How many bytes."""
    sha256: str


class InputDigests:
    """sha256 of every weight file of one model.

    Bytes that go by in file order are not read again; those that a transfer never asks for, or asks for in another
    order than the file has them, are read here. What goes by twice must be the same twice, or else the bytes that were
    digested would not be those that were computed with. Used by one thread at a time.
    """

    def __init__(self, source: Source, files: tuple[SourceFile, ...], reads: Iterable[Read]) -> None:
        """Begin.

        Args:
            source: the model.
            files: those to digest.
            reads: all that will be offered, in any order.
        """
        self._source = source
        self._sizes = {file.path: file.size for file in files}
        by_file: defaultdict[str, list[Read]] = defaultdict(list)
        for read in reads:
            by_file[read.file].append(read)
        self._segments = {path: _Segments(by_file[path]) for path in self._sizes}
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

    def marks(self, paths: Iterable[str]) -> tuple[Mark, ...]:
        """What these files came to so far: the same again means that the bytes offered so far were the same."""
        digests = [*self._before, *((path, self._files[path]) for path in sorted(set(paths)))]
        return tuple(digest.mark() for _, digest in digests)

    def expect(self, marks: Iterable[Mark]) -> bool:
        """Compare with what an earlier run came to, as soon as so much was digested.

        Returns:
            Whether that can be done; not where digesting is further already, or goes by in other steps.

        Raises:
            DigestMismatch: it is not the same.
        """
        return all(self._files[mark.file].expect(mark) for mark in marks)

    def finish(self) -> dict[str, str]:
        """Digest by path, after reading what was never offered.

        Raises:
            DigestMismatch: a file that was read twice was not the same twice.
            RecycleError: it cannot be read.
        """
        digests = {path: digest.finish() for path, digest in self._files.items()}
        for path, digest in self._before:
            if digest.finish() != digests[path]:
                raise _changed(self._source, path)
        return digests

    def _begin(self, path: str) -> "_FileDigest":
        return _FileDigest(self._source, path, self._sizes[path], self._segments[path])


class _Segments:
    """A file cut where any read of it begins or ends."""

    def __init__(self, reads: Iterable[Read]) -> None:
        change: Counter[int] = Counter()
        for read in reads:
            change[read.offset] += 1
            change[read.offset + read.length] -= 1
        self.cuts = sorted(change)
        depths = itertools.accumulate(change[cut] for cut in self.cuts)
        self.repeated = frozenset(cut for cut, depth in zip(self.cuts, depths, strict=True) if depth > 1)
        """Where segments begin that go by more than once."""

    def between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        inside = self.cuts[bisect_right(self.cuts, begin) : bisect_left(self.cuts, end)]
        return itertools.pairwise([begin, *inside, end]) if begin < end else iter(())


class _FileDigest:
    def __init__(self, source: Source, path: str, size: int, segments: _Segments) -> None:
        self._source, self._path, self._size, self._segments = source, path, size, segments
        self._sha256 = hashlib.sha256()
        self._position = 0
        self._checksums: dict[int, int] = {}
        """CRC-32 of segments, by their begin, that go by once more."""
        self._expected: defaultdict[int, set[str]] = defaultdict(set)

    def offer(self, offset: int, data: memoryview) -> None:
        self._catch_up(offset)
        for begin, end in self._segments.between(offset, offset + len(data)):
            part = data[begin - offset : end - offset]
            if begin < self._position:
                self._check_repeat(begin, part)
                continue
            self._digest(part)
            if begin in self._segments.repeated:
                self._checksums[begin] = zlib.crc32(part)

    def mark(self) -> Mark:
        return Mark(file=self._path, position=self._position, sha256=self._sha256.hexdigest())

    def expect(self, mark: Mark) -> bool:
        if mark.position == self._position:
            self._check_mark({mark.sha256})
            return True
        if mark.position < self._position or mark.position not in self._segments.cuts:
            return False
        self._expected[mark.position].add(mark.sha256)
        return True

    def finish(self) -> str:
        self._catch_up(self._size)
        return self._sha256.hexdigest()

    def _catch_up(self, offset: int) -> None:
        """Read up to `offset`, in the segments that will be offered later."""
        for begin, end in self._segments.between(self._position, offset):
            self._checksums[begin] = self._read_up_to(end)

    def _read_up_to(self, end: int) -> int:
        checksum = 0
        block = memoryview(bytearray(min(BLOCK_BYTES, end - self._position)))
        while self._position < end:
            part = block[: end - self._position]
            self._source.read_into(self._path, self._position, part)
            self._digest(part)
            checksum = zlib.crc32(part, checksum)
        return checksum

    def _digest(self, part: memoryview) -> None:
        self._sha256.update(part)
        self._position += len(part)
        if self._position in self._expected:
            self._check_mark(self._expected[self._position])

    def _check_repeat(self, begin: int, part: memoryview) -> None:
        """Compare a segment that goes by again with what was digested."""
        if self._checksums[begin] != zlib.crc32(part):
            raise _changed(self._source, self._path)

    def _check_mark(self, expected: set[str]) -> None:
        if expected != {self._sha256.hexdigest()}:
            raise _changed(self._source, self._path)


def _changed(source: Source, path: str) -> DigestMismatch:
    return DigestMismatch(
        f"{path} of {source.reference} was read twice, and was not the same twice: its bytes were changed or damaged "
        "on the way",
        hint="run the same command again; if it repeats, look for the fault in the network or the server",
    )
