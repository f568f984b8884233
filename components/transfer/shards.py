"""What a transfer does, before it does it: shards of tensors, tensors of parts, each part made in one way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from components.checkpoints import DTYPE_BYTES, Layout, Tensor, build_header

FLOAT_DTYPES = ("BF16", "F16", "F32")
INTEGER_DTYPES = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
SOURCE_BASE, SOURCE_TUNED, TARGET_BASE = ROLES = ("source base", "source fine-tuned", "target base")
"""The three checkpoints: M_s, FT(M_s) and M_t."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Consecutive elements of one tensor of a checkpoint."""

    tensor: Tensor
    start: int = 0
    """The first element."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive elements of one tensor of the result.

    Made of all three checkpoints by the arithmetic, or of one of them as it is: rows of a vocabulary that not all
    three have, and tensors without a say in what the model computes.
    """

    tensor: str
    """The name of the result's tensor."""
    dtype: str
    """Of the result."""
    cast: str | None
    """The dtype that the inputs are cast to first, None for no cast."""
    elements: int
    inputs: dict[str, Slice]
    """By role: all three, or the one that is copied."""
    scale: float

    @property
    def copied_from(self) -> str | None:
        """The role of the checkpoint that the elements are copied from, None where they are computed of three."""
        return None if len(self.inputs) == len(ROLES) else next(iter(self.inputs))

    @property
    def is_computed(self) -> bool:
        """Whether the arithmetic makes it, and measures it."""
        return self.copied_from is None and self.dtype in FLOAT_DTYPES

    @cached_property
    def widest(self) -> int:
        """Bytes an element takes where it takes most, in the result or in one of the inputs."""
        return max(
            DTYPE_BYTES[dtype] for dtype in (self.dtype, *(part.tensor.entry.dtype for part in self.inputs.values()))
        )

    @property
    def bytes_to_read(self) -> int:
        """What its elements take in its inputs."""
        return sum(self.elements * DTYPE_BYTES[part.tensor.entry.dtype] for part in self.inputs.values())


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """One tensor of the result."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    """In order, of all its elements."""

    @property
    def elements(self) -> int:
        """Number of elements of the result."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in the result."""
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One weight file of the result: the target's name, tensors in the target's order."""

    file: str
    tensors: tuple[TensorPlan, ...]

    @cached_property
    def header(self) -> bytes:
        """The file's first bytes."""
        return build_header(((plan.name, plan.dtype, plan.shape) for plan in self.tensors), {"format": "pt"})

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return len(self.header) + sum(plan.size for plan in self.tensors)

    @property
    def parts(self) -> Iterator[Part]:
        """Those of all its tensors, in the file's order."""
        return (part for plan in self.tensors for part in plan.parts)

    @property
    def bytes_to_read(self) -> int:
        """What its tensors take in the three models."""
        return sum(part.bytes_to_read for part in self.parts)

    def files(self, role: str) -> frozenset[str]:
        """The weight files of the model in this role that it is made of."""
        return frozenset(part.inputs[role].tensor.file for part in self.parts if role in part.inputs)


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """All that a transfer does, before it does it."""

    source_base: Layout
    source_tuned: Layout
    target_base: Layout
    shards: tuple[ShardPlan, ...]
    rows: int | None
    """Rows of the result's vocabulary, where the models have one."""
    target_rows: int | None
    """Rows of the target's."""
    unties: bool
    """Whether the result has a head of its own although its config, the target's, says that it has none."""
    notes: tuple[str, ...]
    """Differences that are allowed and that a person should know."""
    warnings: tuple[str, ...] = ()
    """What may keep the result from being used."""

    @property
    def layouts(self) -> dict[str, Layout]:
        """The three checkpoints by role."""
        return dict(zip(ROLES, (self.source_base, self.source_tuned, self.target_base), strict=True))

    @property
    def bytes_to_read(self) -> int:
        """Over the three inputs."""
        return sum(layout.weight_bytes for layout in self.layouts.values())

    @property
    def bytes_to_write(self) -> int:
        """Over the result's weight files."""
        return sum(shard.size for shard in self.shards)
