"""Shards of the result, in one pass each: a few threads read, compute, write and digest spans side by side.

No tensor is ever complete in memory: a thread holds one span of each model and of the result.

A shard is written a second time in one case, the signed-zero repair. The reference adds λ·Δ to every element of a
tensor that the fine-tune changed anywhere, and that turns each −0 of the target whose own Δ is 0 into +0; a tensor that
it changed nowhere stays the target's, bit for bit. Which of the two a tensor is shows only at its end. So pieces
without a change are copied from the target, and where that proves wrong for a −0, the shard is made again.
"""

import hashlib
import itertools
import logging
import mmap
import queue
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from components.checkpoints import DTYPE_BYTES
from components.errors import BadParameter
from components.store import CheckpointWriter, FileWriter, Finished
from components.system import PAGE, Cancellation, Sequencer, human_bytes, usable_cores
from components.transfer.input_digests import InputDigests, Mark
from components.transfer.pieces import Bytes, PieceResult, compute_piece, copy_piece
from components.transfer.shards import ROLES, ShardPlan, TransferPlan
from components.transfer.spans import SMALLEST_SPAN, Read, Span, cut
from components.transfer.statistics import TensorStatistics, add_up

logger = logging.getLogger(__name__)

LARGEST_SPAN = 4 << 20
THREADS_PER_CORE = 2
"""While one waits for the disk or for its turn, another computes."""
MOST_THREADS = 32
REMOTE_THREADS = 8
"""Threads for a server, where waiting takes most of the time."""
MOST_PARTS = 9_000
"""Writes of one shard: S3 takes 10,000 parts of an object."""

Advance = Callable[[int], None]


class ShardNote(BaseModel):
    """What is kept of a finished shard beside its digest, so that a rerun need not make it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statistics: tuple[TensorStatistics, ...]
    """One entry for each tensor that is computed, in the shard's order."""
    marks: dict[str, tuple[Mark, ...]]
    """By role, for the models that were digested: a rerun makes sure that it digests what the shard was made of."""

    @classmethod
    def of(cls, finished: Finished) -> "ShardNote | None":
        """Read the note of a finished file; None where another version of this software wrote it."""
        try:
            return cls.model_validate_json(finished.note)
        except ValidationError:
            return None


@dataclass(frozen=True, kw_only=True)
class PipelineSizes:
    """How a transfer uses the machine: the result does not depend on it."""

    threads: int
    span_bytes: int

    @classmethod
    def fitting(cls, memory: int, needed: int = 0) -> "PipelineSizes":
        """The best use of `memory` bytes of buffers: four of them a thread.

        Args:
            memory: bytes.
            needed: bytes that a span must have for a server to take it, 0 where there is none.

        Raises:
            BadParameter: it is too little for one thread.
        """
        smallest = 4 * (max(SMALLEST_SPAN, needed) + PAGE)
        if memory < smallest:
            raise BadParameter(
                f"the memory for a transfer is {human_bytes(memory)}, and the least it can work in is "
                f"{human_bytes(smallest)}",
                hint="set RECYCLE_MEMORY, or --memory, to 512MB or so",
            )
        threads = min(REMOTE_THREADS if needed else THREADS_PER_CORE * usable_cores(), MOST_THREADS, memory // smallest)
        return cls(threads=threads, span_bytes=min(memory // threads // 4 - PAGE, max(LARGEST_SPAN, needed)))


def _span_for(smallest_write: int, plan: TransferPlan) -> int:
    """Bytes of a span whose part of the result is never smaller than `smallest_write`, nor the parts too many."""
    if not smallest_write:
        return 0
    parts = [part for shard in plan.shards for part in shard.parts]
    widening = max((part.widest // DTYPE_BYTES[part.dtype] for part in parts), default=1)
    least = max((-(-shard.size // MOST_PARTS) for shard in plan.shards), default=0)
    # A unit is what may be left over at the end of a span.
    return (max(smallest_write, least) + SMALLEST_SPAN) * widening + SMALLEST_SPAN


class Stream:
    """Writes the shards of one transfer, one after the other; used as a context manager, which ends its threads."""

    def __init__(
        self,
        plan: TransferPlan,
        writer: CheckpointWriter,
        *,
        digested: Collection[str],
        memory: int,
        progress: Advance,
    ) -> None:
        """Prepare the threads and their buffers.

        Args:
            plan: the transfer.
            writer: gets the shards.
            digested: the roles of the models whose weight files are to be digested as they go by.
            memory: bytes of buffers.
            progress: called with the bytes read and written since the last call.

        Raises:
            BadParameter: `memory` is too little.
        """
        self._writer = writer
        self._workers = _Workers(plan, PipelineSizes.fitting(memory, _span_for(writer.smallest_write, plan)), progress)
        for role, layout in plan.layouts.items():
            if role in digested:
                self._workers.digest(role, InputDigests(layout.source, layout.weight_files, self._reads(plan, role)))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.end(error)

    def write_shard(self, shard: ShardPlan) -> Finished:
        """Write one shard into the checkpoint, or find it there finished and sound.

        Raises:
            RecycleError: an input cannot be read, or an integer tensor differs between the fine-tuned model and its
                base.
        """
        finished = self._writer.finished(shard.file)
        if finished is not None and self._is_of_these_inputs(finished):
            logger.info("%s was finished by an earlier try", shard.file)
            self._workers.progress(shard.size + shard.bytes_to_read)
            return finished
        made = self._one_pass(shard, computed=frozenset())
        if made.needs_signed_zero_repair:
            self._workers.progress(-(shard.size + shard.bytes_to_read))
            for role, digests in self._workers.digests.items():
                digests.again(shard.files(role))
            made = self._one_pass(shard, computed=made.needs_signed_zero_repair)
        return Finished(size=shard.size, sha256=made.sha256.hexdigest(), note=self._note(made).model_dump_json())

    def input_digests(self) -> dict[str, dict[str, str]]:
        """Finish the digests of the models that are digested: sha256 by role and weight file."""
        return {role: digests.finish() for role, digests in self._workers.digests.items()}

    def _one_pass(self, shard: ShardPlan, *, computed: frozenset[str]) -> "ShardWriter":
        with self._writer.create(shard.file, shard.size) as output:
            made = ShardWriter(shard=shard, output=output, workers=self._workers, computed=computed)
            made.run()
            if not made.needs_signed_zero_repair:
                output.finish(made.sha256.hexdigest(), self._note(made).model_dump_json())
        return made

    def _note(self, made: "ShardWriter") -> ShardNote:
        marks = {role: digests.marks(made.shard.files(role)) for role, digests in self._workers.digests.items()}
        return ShardNote(statistics=made.statistics, marks=marks)

    def _is_of_these_inputs(self, finished: Finished) -> bool:
        """Whether what is digested now is proved, by the end at the latest, to be what a finished shard was made of."""
        note = ShardNote.of(finished)
        return note is not None and all(
            role in note.marks and digests.expect(note.marks[role]) for role, digests in self._workers.digests.items()
        )

    def _reads(self, plan: TransferPlan, role: str) -> Iterator[Read]:
        for shard in plan.shards:
            for span in cut(shard, self._workers.span_bytes):
                yield from span.reads(role)


class _Workers:
    """What all shards of a transfer share: threads, their buffers, the order they go in, and the inputs' digests."""

    def __init__(self, plan: TransferPlan, sizes: PipelineSizes, progress: Advance) -> None:
        self.sources = {role: layout.source for role, layout in plan.layouts.items()}
        self.span_bytes = sizes.span_bytes
        self.progress = progress
        self.digests: dict[str, InputDigests] = {}
        self.cancellation = Cancellation()
        self.reading: dict[str, Sequencer] = {}
        self.writing = Sequencer(self.cancellation)
        self.numbers = itertools.count()
        self.buffers: queue.SimpleQueue[_Buffers] = queue.SimpleQueue()
        for _ in range(sizes.threads):
            self.buffers.put(_Buffers(sizes.span_bytes))
        self.pool = ThreadPoolExecutor(sizes.threads, thread_name_prefix="transfer", initializer=self.cancellation.join)

    def digest(self, role: str, digests: InputDigests) -> None:
        """Have the weight files of a model digested as they go by."""
        self.digests[role] = digests
        self.reading[role] = Sequencer(self.cancellation)

    def end(self, error: BaseException | None) -> None:
        """End the threads, after an error at once."""
        if error is not None:
            self.cancellation.stop(error)
        self.pool.shutdown(cancel_futures=True)


@dataclass(kw_only=True)
class ShardWriter:
    """One pass over a shard: every span of it is read, computed, written and hashed."""

    shard: ShardPlan
    output: FileWriter
    workers: _Workers
    computed: frozenset[str]
    """Tensors that are known to be changed somewhere, so that no piece of them is copied from the target."""
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    results: list[PieceResult] = field(default_factory=list)

    def run(self) -> None:
        """Do it all.

        Raises:
            RecycleError: an input cannot be read, or an integer tensor differs between the fine-tuned model and its
                base.
        """
        header = self.shard.header
        self.output.write(0, memoryview(header))
        self.sha256.update(header)
        self.workers.progress(len(header))
        futures = []
        try:
            for span in cut(self.shard, self.workers.span_bytes):
                futures.append(self.workers.pool.submit(self._span, next(self.workers.numbers), span))
            for future in futures:
                self.results.extend(future.result())
        except BaseException as error:
            self.workers.end(error)  # before the file is closed under the threads
            raise

    def _span(self, number: int, span: Span) -> list[PieceResult]:
        buffers = self.workers.buffers.get()
        try:
            read = self._read(number, span, buffers)
            result = buffers.result(span)
            made = self._compute(span, buffers, result)
            self.output.write(span.offset, result.data)
            with self.workers.writing.turn(number):
                self._hash(result)
                self.workers.progress(read + span.size)
        except BaseException as error:
            self.workers.cancellation.stop(error)
            raise
        finally:
            self.workers.buffers.put(buffers)
        return made

    def _read(self, number: int, span: Span, buffers: "_Buffers") -> int:
        done = 0
        for role, source in self.workers.sources.items():
            data = buffers.inputs[role].data
            reads = tuple(span.reads(role))
            for read in reads:
                source.read_into(read.file, read.offset, data[read.position : read.position + read.length])
                done += read.length
            if role in self.workers.digests:
                with self.workers.reading[role].turn(number):
                    for read in reads:
                        part = data[read.position : read.position + read.length]
                        self.workers.digests[role].offer(read.file, read.offset, part)
        return done

    def _compute(self, span: Span, buffers: "_Buffers", result: Bytes) -> list[PieceResult]:
        positions = dict.fromkeys(ROLES, 0)
        begin = 0
        made = []
        for piece in span.pieces:
            inputs = {}
            for role in piece.part.inputs:
                size = piece.bytes_of(role)
                inputs[role] = buffers.inputs[role][positions[role] : positions[role] + size]
                positions[role] += size
            out = result[begin : begin + piece.bytes_of_result]
            begin += piece.bytes_of_result
            if piece.part.is_computed:
                made.append(compute_piece(piece, inputs, out, add_everywhere=piece.part.tensor in self.computed))
            else:
                copy_piece(piece.part, inputs, out)
        return made

    def _hash(self, result: Bytes) -> None:
        self.sha256.update(result.data)

    @cached_property
    def statistics(self) -> tuple[TensorStatistics, ...]:
        """What the tensors that are computed came to, in the shard's order."""
        return tuple(
            add_up(
                tensor,
                sum(part.piece.count for part in parts),
                [part.sums for part in parts],
                [part.counts for part in parts],
            )
            for tensor, parts in self._by_tensor()
        )

    @cached_property
    def needs_signed_zero_repair(self) -> frozenset[str]:
        """Tensors that were changed somewhere, and copied where adding +0 would have turned a −0 into +0."""
        return frozenset(
            tensor
            for tensor, parts in self._by_tensor()
            if any(part.changed and part.piece.part.scale != 0 for part in parts)
            and any(not part.is_unchanged for part in parts)
        )

    def _by_tensor(self) -> Iterator[tuple[str, list[PieceResult]]]:
        parts: defaultdict[str, list[PieceResult]] = defaultdict(list)
        for result in self.results:
            parts[result.piece.part.tensor].append(result)
        for tensor in self.shard.tensors:
            if any(part.is_computed for part in tensor.parts):
                yield tensor.name, parts[tensor.name]


class _Buffers:
    """What one thread works in."""

    def __init__(self, span_bytes: int) -> None:
        self.inputs: dict[str, Bytes] = {role: _pages(span_bytes) for role in ROLES}
        self._result = _pages(span_bytes + PAGE)

    def result(self, span: Span) -> Bytes:
        """Memory for a span of the result, at an address that suits its offset (see `ShardFile.write`)."""
        begin = span.offset % PAGE
        return self._result[begin : begin + span.size]


def _pages(size: int) -> Bytes:
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8)
