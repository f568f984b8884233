"""One shard of the result, written chunk by chunk: no tensor is ever whole in memory."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.arithmetic import Bytes, Floats, add_scaled_delta, cast, narrow, widen
from components.compatibility import ShardPlan, TensorPlan
from components.dtypes import cast_dtype
from components.errors import BadCheckpoint, Incompatible
from components.folder import reading_errors
from components.layout import Tensor
from components.statistics import TensorStatistics
from components.tensorfile import DTYPE_BYTES
from components.transfer.measure import Meter
from components.work import sha256_file, sync_folder, write_durably

CHUNK_ELEMENTS = 1 << 20
"""Also the unit that statistics are summed in, so they change with it."""

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The folders that hold the three models."""

    source_base: Path
    source_tuned: Path
    target_base: Path


class ShardRecord(BaseModel):
    """What is kept of a finished shard, so that a rerun need not make it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str
    statistics: tuple[TensorStatistics, ...]


def write_shard(
    shard: ShardPlan, inputs: Inputs, folder: Path, *, policy: str, scale: float, progress: Advance
) -> ShardRecord:
    """Write one shard into `folder`, or find it there finished and sound.

    Raises:
        BadCheckpoint: an input ends before its header says.
        Incompatible: an integer tensor differs between the fine-tuned model and its base.
    """
    final, record_path = folder / shard.file, folder / f".{shard.file}.record"
    record = _finished(final, record_path)
    if record is not None:
        progress(record.size)
        return record
    temporary = folder / f".{shard.file}.part"
    with temporary.open("w+b") as output:
        sha256, statistics = _Writer(inputs, output, policy, scale, progress).write(shard)
        output.flush()
        os.fsync(output.fileno())
        size = output.tell()
    temporary.replace(final)
    sync_folder(folder)
    record = ShardRecord(size=size, sha256=sha256, statistics=statistics)
    write_durably(record_path, record.model_dump_json().encode())
    return record


def _finished(final: Path, record_path: Path) -> ShardRecord | None:
    if not (final.is_file() and record_path.is_file()):
        return None
    record = ShardRecord.model_validate_json(record_path.read_bytes())
    return record if final.stat().st_size == record.size and sha256_file(final) == record.sha256 else None


class _Writer:
    def __init__(self, inputs: Inputs, output: BinaryIO, policy: str, scale: float, progress: Advance) -> None:
        self._inputs = inputs
        self._output = output
        self._policy = policy
        self._scale = scale
        self._progress = progress
        self._sha256 = hashlib.sha256()

    def write(self, shard: ShardPlan) -> tuple[str, tuple[TensorStatistics, ...]]:
        self._put(np.frombuffer(shard.header, dtype=np.uint8))
        statistics = [self._tensor(plan) for plan in shard.tensors]
        return self._sha256.hexdigest(), tuple(entry for entry in statistics if entry is not None)

    def _tensor(self, plan: TensorPlan) -> TensorStatistics | None:
        if not plan.is_float:
            self._copy_integers(plan)
            return None
        before, position = self._sha256.copy(), self._output.tell()
        meter, touched = Meter(plan.name), False
        for source, tuned, target in self._floats(plan):
            kept = narrow(target, plan.dtype)
            result = kept
            if self._scale != 0:
                result = narrow(add_scaled_delta(target, tuned, source, self._scale), plan.dtype)
            meter.add(target, tuned, source, widen(result, plan.dtype))
            touched = touched or not np.array_equal(result, kept)
            self._put(result)
        if touched and meter.is_unchanged:
            # Adding +0 turns −0 into +0: a tensor that the fine-tune did not touch must stay the target's, bit for bit.
            self._sha256 = before
            self._output.seek(position)
            for _, _, target in self._floats(plan):
                self._put(narrow(target, plan.dtype), counted=False)
        return meter.result()

    def _floats(self, plan: TensorPlan) -> Iterator[tuple[Floats, Floats, Floats]]:
        via = cast_dtype(self._policy, plan.tuned.entry.dtype)
        for start in range(0, plan.elements, CHUNK_ELEMENTS):
            count = min(CHUNK_ELEMENTS, plan.elements - start)
            yield (
                self._read(self._inputs.source_base, plan.source, start, count, via),
                self._read(self._inputs.source_tuned, plan.tuned, start, count, via),
                self._read(self._inputs.target_base, plan.target, start, count, via),
            )

    def _read(self, folder: Path, tensor: Tensor, start: int, count: int, via: str | None) -> Floats:
        """`count` elements from `start`; past the tensor's end are the zero rows of a vocabulary that grew."""
        held = max(0, min(count, tensor.entry.elements - start))
        values = cast(_read_elements(folder, tensor, start, held), tensor.entry.dtype, via)
        return values if held == count else np.concatenate([values, np.zeros(count - held)])

    def _copy_integers(self, plan: TensorPlan) -> None:
        for start in range(0, plan.elements, CHUNK_ELEMENTS):
            count = min(CHUNK_ELEMENTS, plan.elements - start)
            source = _read_elements(self._inputs.source_base, plan.source, start, count)
            tuned = _read_elements(self._inputs.source_tuned, plan.tuned, start, count)
            if not np.array_equal(source, tuned):
                raise Incompatible(
                    f"tensor {plan.name} holds integers ({plan.dtype}) that the fine-tune changed; "
                    "there is no diff vector of integers",
                    do="give a fine-tuned model whose integer buffers are its base's",
                )
            self._put(_read_elements(self._inputs.target_base, plan.target, start, count))

    def _put(self, data: Bytes, *, counted: bool = True) -> None:
        view = np.ascontiguousarray(data).data
        self._output.write(view)
        self._sha256.update(view)
        if counted:
            self._progress(len(view))


def _read_elements(folder: Path, tensor: Tensor, start: int, count: int) -> Bytes:
    width = DTYPE_BYTES[tensor.entry.dtype]
    with reading_errors(), (folder / tensor.file).open("rb") as file:
        file.seek(tensor.entry.start + start * width)
        raw = file.read(count * width)
    if len(raw) < count * width:
        raise BadCheckpoint(
            f"{folder / tensor.file} ended inside tensor {tensor.entry.name}: it was cut short while being read",
            do="get the checkpoint again",
        )
    return np.frombuffer(raw, dtype=np.uint8)
