"""A shard of the result cut into spans: consecutive bytes of its file, few enough to be worked on in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.checkpoints import DTYPE_BYTES, Tensor
from components.transfer.kernel import UNIT
from components.transfer.plan import ShardPlan, TensorPlan

SMALLEST_SPAN = UNIT * max(DTYPE_BYTES.values())
"""Bytes of the smallest span into which any tensor can be cut: one unit of the widest dtype."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """Consecutive bytes of one input file, and where they go in the buffer of their model."""

    file: str
    offset: int
    length: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive elements of one tensor, the first of them the first of a unit."""

    tensor: TensorPlan
    start: int
    count: int

    def held(self, role: str) -> int:
        """How many of them the model in this role has; those after are the zero rows of a vocabulary that grew."""
        return max(0, min(self.count, self.tensor.parents[role].entry.elements - self.start))

    def bytes_of(self, role: str) -> int:
        """Their size in the buffer of the model in this role."""
        return self.count * DTYPE_BYTES[self.tensor.parents[role].entry.dtype]

    @property
    def bytes_of_result(self) -> int:
        """Their size in the result."""
        return self.count * DTYPE_BYTES[self.tensor.dtype]


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
            tensor = piece.tensor.parents[role]
            read = _read(tensor, piece, role, position)
            position += piece.bytes_of(role)
            if not read.length:
                continue
            if pending is not None and _follows(read, pending):
                pending = Read(
                    file=pending.file,
                    offset=pending.offset,
                    length=pending.length + read.length,
                    position=pending.position,
                )
                continue
            if pending is not None:
                yield pending
            pending = read
        if pending is not None:
            yield pending


def cut(shard: ShardPlan, span_bytes: int) -> Iterator[Span]:
    """Cut a shard's data into spans in file order, none of which needs a buffer larger than `span_bytes`.

    Tensors are cut between units only.
    """
    offset = len(shard.header)
    pieces: list[Piece] = []
    room = span_bytes
    for tensor in shard.tensors:
        start = 0
        while start < tensor.elements:
            units = room // (UNIT * tensor.widest)
            count = min(units * UNIT, tensor.elements - start)
            if count:
                pieces.append(Piece(tensor=tensor, start=start, count=count))
                room -= count * tensor.widest
                start += count
            if start < tensor.elements or not room:
                span = _span(offset, pieces)
                yield span
                offset, pieces, room = offset + span.size, [], span_bytes
    if pieces:
        yield _span(offset, pieces)


def _span(offset: int, pieces: list[Piece]) -> Span:
    return Span(offset=offset, size=sum(piece.bytes_of_result for piece in pieces), pieces=tuple(pieces))


def _read(tensor: Tensor, piece: Piece, role: str, position: int) -> Read:
    width = DTYPE_BYTES[tensor.entry.dtype]
    return Read(
        file=tensor.file,
        offset=tensor.entry.start + piece.start * width,
        length=piece.held(role) * width,
        position=position,
    )


def _follows(read: Read, before: Read) -> bool:
    return (
        read.file == before.file
        and read.offset == before.offset + before.length
        and read.position == before.position + before.length
    )
