"""A shard of the result cut into spans: consecutive bytes of its file, few enough to be worked on in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from components.checkpoints import DTYPE_BYTES
from components.transfer.kernel import UNIT
from components.transfer.shards import Part, ShardPlan

SMALLEST_SPAN = UNIT * max(DTYPE_BYTES.values())
"""Bytes of the smallest span into which any tensor can be cut: one unit of the widest dtype."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """Consecutive bytes of one input file, and where they go in the buffer of their model."""

    file: str
    offset: int
    length: int
    position: int

    def follows(self, before: "Read") -> bool:
        """Whether it goes on where `before` ends, in the file and in the buffer."""
        ends = (before.file, before.offset + before.length, before.position + before.length)
        return (self.file, self.offset, self.position) == ends


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive elements of one part, the first of them the first of a unit."""

    part: Part
    start: int
    count: int

    def bytes_of(self, role: str) -> int:
        """Their size in the buffer of the model in this role, 0 where it has no part in them."""
        slice_ = self.part.inputs.get(role)
        return self.count * DTYPE_BYTES[slice_.tensor.entry.dtype] if slice_ else 0

    @property
    def bytes_of_result(self) -> int:
        """Their size in the result."""
        return self.count * DTYPE_BYTES[self.part.dtype]

    def read(self, role: str, position: int) -> Read:
        """What it takes from the model in this role, to `position` of the buffer."""
        slice_ = self.part.inputs[role]
        entry = slice_.tensor.entry
        offset = entry.start + (slice_.start + self.start) * DTYPE_BYTES[entry.dtype]
        return Read(file=slice_.tensor.file, offset=offset, length=self.bytes_of(role), position=position)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Consecutive bytes of the result's file."""

    offset: int
    size: int
    pieces: tuple[Piece, ...]

    def reads(self, role: str) -> Iterator[Read]:
        """What it takes from the model in this role, as few reads as the files allow."""
        pending: Read | None = None
        position = 0
        for piece in self.pieces:
            if not piece.bytes_of(role):
                continue
            read = piece.read(role, position)
            position += read.length
            if pending is not None and read.follows(pending):
                pending = replace(pending, length=pending.length + read.length)
                continue
            if pending is not None:
                yield pending
            pending = read
        if pending is not None:
            yield pending


def cut(shard: ShardPlan, span_bytes: int) -> Iterator[Span]:
    """Cut a shard's data into spans in file order, none of which needs a buffer larger than `span_bytes`.

    Parts are cut between units only.
    """
    offset = len(shard.header)
    pieces: list[Piece] = []
    room = span_bytes
    for part in shard.parts:
        start = 0
        while start < part.elements:
            units = room // (UNIT * part.widest)
            count = min(units * UNIT, part.elements - start)
            if count:
                pieces.append(Piece(part=part, start=start, count=count))
                room -= count * part.widest
                start += count
            if start < part.elements or not room:
                span = _span(offset, pieces)
                yield span
                offset, pieces, room = offset + span.size, [], span_bytes
    if pieces:
        yield _span(offset, pieces)


def _span(offset: int, pieces: list[Piece]) -> Span:
    return Span(offset=offset, size=sum(piece.bytes_of_result for piece in pieces), pieces=tuple(pieces))
