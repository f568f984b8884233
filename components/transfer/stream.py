"""One shard of the result, in one pass: spans are read, computed, written and digested side by side by a few threads.

No tensor is ever whole in memory; a thread holds one span of each model and of the result.
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
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from components.checkpoints import DTYPE_BYTES
from components.errors import BadParameter, Incompatible
from components.store import CheckpointWriter, FileWriter, Finished
from components.system import PAGE, Cancellation, Sequencer, human_bytes, usable_cores
from components.transfer.dtypes import cast_dtype
from components.transfer.input_digests import InputDigests, Mark
from components.transfer.kernel import COUNTS, PATTERNS, SUMS, UNIT, Patterns, copy_kernel, transfer_kernel
from components.transfer.measure import add_up
from components.transfer.plan import ROLES, SOURCE_BASE, SOURCE_TUNED, TARGET_BASE, ShardPlan, TensorPlan, TransferPlan
from components.transfer.spans import SMALLEST_SPAN, Piece, Read, Span, cut
from components.transfer.statistics import TensorStatistics

logger = logging.getLogger(__name__)

LARGEST_SPAN = 4 << 20
THREADS_PER_CORE = 2
"""While one waits for the disk or for its turn, another computes."""
MOST_THREADS = 32
REMOTE_THREADS = 8
"""For a server, where waiting is most of it."""
MOST_PARTS = 9_000
"""Of one shard; S3 takes 10,000."""

Bytes = NDArray[np.uint8]
Advance = Callable[[int], None]


class ShardNote(BaseModel):
    """What is kept of a finished shard beside its digest, so that a rerun need not make it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statistics: tuple[TensorStatistics, ...]
    """Of the tensors that are computed, in the shard's order."""
    marks: dict[str, tuple[Mark, ...]]
    """By role, of the models that were digested: a rerun makes sure that it digests what the shard was made of."""


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
    tensors = [tensor for shard in plan.shards for tensor in shard.tensors]
    widening = max((tensor.widest // DTYPE_BYTES[tensor.dtype] for tensor in tensors), default=1)
    parts = max((-(-shard.size // MOST_PARTS) for shard in plan.shards), default=0)
    # A unit is what may be left over at the end of a span.
    return (max(smallest_write, parts) + SMALLEST_SPAN) * widening + SMALLEST_SPAN


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
        measured: bool = True,
        hashed: bool = True,
    ) -> None:
        """Prepare the threads and their buffers.

        Args:
            plan: the transfer.
            writer: gets the shards.
            digested: the roles of the models whose weight files are to be digested as they go by.
            memory: bytes of buffers.
            progress: told of bytes read and written.
            measured: off leaves statistics out, so that benchmarks can show what they cost.
            hashed: off leaves the digests of the result out, likewise.

        Raises:
            BadParameter: `memory` is too little.
        """
        shape = PipelineSizes.fitting(memory, _span_for(writer.smallest_write, plan))
        self._plan = plan
        self._writer = writer
        self._progress = progress
        self._measured = measured
        self._hashed = hashed
        self._span_bytes = shape.span_bytes
        self._digests = {
            role: InputDigests(layout.source, layout.weight_files, self._reads(role))
            for role, layout in plan.layouts.items()
            if role in digested
        }
        self._cancellation = Cancellation()
        self._reading = {role: Sequencer(self._cancellation) for role in self._digests}
        self._writing = Sequencer(self._cancellation)
        self._numbers = itertools.count()
        self._buffers: queue.SimpleQueue[_Buffers] = queue.SimpleQueue()
        for _ in range(shape.threads):
            self._buffers.put(_Buffers(shape.span_bytes))
        self._pool = ThreadPoolExecutor(
            shape.threads, thread_name_prefix="transfer", initializer=self._cancellation.join
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cancellation.stop(error)
        self._pool.shutdown(cancel_futures=True)

    def write_shard(self, shard: ShardPlan) -> Finished:
        """Write one shard into the draft, or find it there finished and sound.

        Raises:
            RecycleError: an input cannot be read, or an integer tensor differs between the fine-tuned model and its
                base.
        """
        finished = self._writer.finished(shard.file)
        if finished is not None and self._is_of_these_inputs(finished):
            logger.info("%s was finished by an earlier try", shard.file)
            self._progress(shard.size + shard.bytes_to_read)
            return finished
        done = self._one_pass(shard, computed=frozenset())
        if done.needs_signed_zero_repair:
            self._progress(-(shard.size + shard.bytes_to_read))
            for role, digests in self._digests.items():
                digests.again(shard.files(role))
            done = self._one_pass(shard, computed=done.needs_signed_zero_repair)
        return Finished(size=shard.size, sha256=done.sha256.hexdigest(), note=self._note(done))

    def input_digests(self) -> dict[str, dict[str, str]]:
        """sha256 of the weight files, by role and path, of those models that are digested."""
        return {role: digests.finish() for role, digests in self._digests.items()}

    def _note(self, work: "_Pass") -> str:
        marks = {role: digests.marks(work.shard.files(role)) for role, digests in self._digests.items()}
        return ShardNote(statistics=work.statistics, marks=marks).model_dump_json()

    def _is_of_these_inputs(self, finished: Finished) -> bool:
        """Whether what is digested now is proved, by the end at the latest, to be what a finished shard was made of."""
        try:
            marks = ShardNote.model_validate_json(finished.note).marks
        except ValidationError:  # of another version of this software
            return False
        return all(role in marks and digests.expect(marks[role]) for role, digests in self._digests.items())

    def _reads(self, role: str) -> Iterator[Read]:
        for shard in self._plan.shards:
            for span in cut(shard, self._span_bytes):
                yield from span.reads(role)

    def _one_pass(self, shard: ShardPlan, *, computed: frozenset[str]) -> "_Pass":
        with self._writer.create(shard.file, shard.size) as output:
            work = _Pass(shard=shard, output=output, computed=computed)
            output.write(0, memoryview(shard.header))
            work.sha256.update(shard.header)
            self._progress(len(shard.header))
            futures = []
            try:
                for span in cut(shard, self._span_bytes):
                    futures.append(self._pool.submit(self._work, work, next(self._numbers), span))
                for future in futures:
                    work.measured.extend(future.result())
                if not work.needs_signed_zero_repair:
                    output.finish(work.sha256.hexdigest(), self._note(work))
            except BaseException as error:
                self._cancellation.stop(error)
                self._pool.shutdown(cancel_futures=True)  # before the file is closed under the threads
                raise
        return work

    def _work(self, work: "_Pass", number: int, span: Span) -> "list[_PieceResult]":
        buffers = self._buffers.get()
        try:
            read = self._read(number, span, buffers)
            result = buffers.result(span)
            measured = self._compute(work, span, buffers, result)
            work.output.write(span.offset, result.data)
            with self._writing.turn(number):
                if self._hashed:
                    work.sha256.update(result.data)
                self._progress(read + span.size)
        except BaseException as error:
            self._cancellation.stop(error)
            raise
        finally:
            self._buffers.put(buffers)
        return measured

    def _read(self, number: int, span: Span, buffers: "_Buffers") -> int:
        done = 0
        for role, layout in self._plan.layouts.items():
            data = buffers.parents[role].data
            reads = tuple(span.reads(role))
            for read in reads:
                layout.source.read_into(read.file, read.offset, data[read.position : read.position + read.length])
                done += read.length
            if role in self._digests:
                with self._reading[role].turn(number):
                    for read in reads:
                        part = data[read.position : read.position + read.length]
                        self._digests[role].offer(read.file, read.offset, part)
        return done

    def _compute(self, work: "_Pass", span: Span, buffers: "_Buffers", result: Bytes) -> "list[_PieceResult]":
        positions = dict.fromkeys(ROLES, 0)
        begin = 0
        measured = []
        for piece in span.pieces:
            parents = {}
            for role in ROLES:
                size = piece.bytes_of(role)
                part = buffers.parents[role][positions[role] : positions[role] + size]
                part[size * piece.held(role) // piece.count :] = 0
                parents[role] = part
                positions[role] += size
            out = result[begin : begin + piece.bytes_of_result]
            begin += piece.bytes_of_result
            if piece.tensor.is_float:
                measured.append(self._compute_piece(piece, parents, out, piece.tensor.name in work.computed))
            else:
                _copy_integers(piece, parents, out)
        return measured

    def _compute_piece(self, piece: Piece, parents: dict[str, Bytes], out: Bytes, computed: bool) -> "_PieceResult":
        tensor = piece.tensor
        via = cast_dtype(self._plan.dtype, tensor.parents[SOURCE_TUNED].entry.dtype)
        stored = [tensor.parents[role].entry.dtype for role in ROLES]
        source, tuned, target = (_patterns(parents[role], dtype) for role, dtype in zip(ROLES, stored, strict=True))
        result = _patterns(out, tensor.dtype)
        units = -(-piece.count // UNIT)
        sums, counts = np.zeros((units, SUMS)), np.zeros((units, COUNTS), np.int64)
        kernel = transfer_kernel(*stored, via, tensor.dtype, measured=self._measured)
        kernel(source, tuned, target, tensor.scale, result, sums, counts)
        changed = 0
        unchanged = int(counts[:, 0].sum()) == piece.count
        if tensor.scale == 0 or (unchanged and not computed):
            changed = copy_kernel(stored[2], via, tensor.dtype)(target, result)
        if not np.shares_memory(result, out):
            out[:] = result.view(np.uint8)
        return _PieceResult(piece=piece, sums=sums, counts=counts, changed=changed)


class _Buffers:
    """What one thread works in."""

    def __init__(self, span_bytes: int) -> None:
        self.parents: dict[str, Bytes] = {role: _pages(span_bytes) for role in ROLES}
        self._result = _pages(span_bytes + PAGE)

    def result(self, span: Span) -> Bytes:
        """Room for a span of the result at an address that suits its offset (see `ShardFile.write`)."""
        begin = span.offset % PAGE
        return self._result[begin : begin + span.size]


def _pages(size: int) -> Bytes:
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class _PieceResult:
    """What one piece came to."""

    piece: Piece
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    changed: int
    """Elements that the arithmetic would have changed although the fine-tune changed none of the piece."""


@dataclass(kw_only=True)
class _Pass:
    """One pass over a shard."""

    shard: ShardPlan
    output: FileWriter
    computed: frozenset[str]
    """Tensors of which nothing is to be kept as it is in the target."""
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    measured: list[_PieceResult] = field(default_factory=list)

    @cached_property
    def statistics(self) -> tuple[TensorStatistics, ...]:
        """Of the tensors that are computed, in the shard's order."""
        return tuple(
            add_up(tensor.name, tensor.elements, [part.sums for part in parts], [part.counts for part in parts])
            for tensor, parts in self._by_tensor()
        )

    @cached_property
    def needs_signed_zero_repair(self) -> frozenset[str]:
        """Tensors that the fine-tune changed, but not in a piece where adding +0 would have turned a −0 into +0.

        A piece that the fine-tune did not change is kept as it is, since its tensor may turn out to be unchanged and
        must then stay the target's, bit for bit. Where the tensor did change, the reference adds to all of it.
        """
        return frozenset(
            tensor.name
            for tensor, parts in self._by_tensor()
            if tensor.scale != 0
            and any(part.changed for part in parts)
            and sum(int(part.counts[:, 0].sum()) for part in parts) < tensor.elements
        )

    def _by_tensor(self) -> Iterator[tuple[TensorPlan, list[_PieceResult]]]:
        parts: defaultdict[str, list[_PieceResult]] = defaultdict(list)
        for part in self.measured:
            parts[part.piece.tensor.name].append(part)
        for tensor in self.shard.tensors:
            if tensor.is_float:
                yield tensor, parts[tensor.name]


def _patterns(data: Bytes, dtype: str) -> Patterns:
    """The same bytes as bit patterns; a copy where tensors of odd sizes left them at an odd address."""
    patterns = data.view(PATTERNS[dtype])
    return patterns if patterns.flags.aligned else patterns.copy()


def _copy_integers(piece: Piece, parents: dict[str, Bytes], out: Bytes) -> None:
    if not np.array_equal(parents[SOURCE_BASE], parents[SOURCE_TUNED]):
        raise Incompatible(
            f"tensor {piece.tensor.name} holds integers ({piece.tensor.dtype}) that the fine-tune changed; "
            "there is no diff vector of integers",
            hint="give a fine-tuned model whose integer buffers are its base's",
        )
    out[:] = parents[TARGET_BASE]
