"""One piece of the result, in memory: computed of three checkpoints, or copied from one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.errors import Incompatible
from components.transfer.kernel import COUNTS, PATTERNS, SUMS, UNIT, Patterns, copy_kernel, transfer_kernel
from components.transfer.shards import FLOAT_DTYPES, ROLES, SOURCE_BASE, SOURCE_TUNED, TARGET_BASE, Part
from components.transfer.spans import Piece

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PieceResult:
    """What one piece came to."""

    piece: Piece
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    changed: int
    """Elements that the arithmetic would have changed although the fine-tune changed none of the piece."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the fine-tune changed none of it."""
        return int(self.counts[:, 0].sum()) == self.piece.count


def compute_piece(piece: Piece, inputs: dict[str, Bytes], out: Bytes, *, add_everywhere: bool) -> PieceResult:
    """Compute a piece of floats of all three checkpoints.

    Args:
        piece: which.
        inputs: bytes of its elements, by role.
        out: gets the result's bytes.
        add_everywhere: whether its tensor is known to be changed somewhere; else a piece without a change is copied.
    """
    part = piece.part
    stored = [part.inputs[role].tensor.entry.dtype for role in ROLES]
    source, tuned, target = (_patterns(inputs[role], dtype) for role, dtype in zip(ROLES, stored, strict=True))
    result = _patterns(out, part.dtype)
    units = -(-piece.count // UNIT)
    sums, counts = np.zeros((units, SUMS)), np.zeros((units, COUNTS), np.int64)
    transfer_kernel(*stored, part.cast, part.dtype)(source, tuned, target, part.scale, result, sums, counts)
    changed = 0
    unchanged = int(counts[:, 0].sum()) == piece.count
    if part.scale == 0 or (unchanged and not add_everywhere):
        changed = copy_kernel(stored[2], part.cast, part.dtype)(target, result)
    if not np.shares_memory(result, out):
        out[:] = result.view(np.uint8)
    return PieceResult(piece=piece, sums=sums, counts=counts, changed=changed)


def copy_piece(part: Part, inputs: dict[str, Bytes], out: Bytes) -> None:
    """Copy a piece: floats of one checkpoint, or the target's integers.

    Raises:
        Incompatible: the integers are not the same in the fine-tuned model and its base.
    """
    if part.dtype not in FLOAT_DTYPES:
        if part.copied_from is None and not np.array_equal(inputs[SOURCE_BASE], inputs[SOURCE_TUNED]):
            raise Incompatible(
                f"tensor {part.tensor} holds integers ({part.dtype}) that the fine-tune changed; "
                "there is no diff vector of integers",
                hint="give a fine-tuned model whose integer buffers are its base's",
            )
        out[:] = inputs[part.copied_from or TARGET_BASE]
        return
    ((role, slice_),) = part.inputs.items()
    stored, result = slice_.tensor.entry.dtype, _patterns(out, part.dtype)
    copy_kernel(stored, part.cast, part.dtype)(_patterns(inputs[role], stored), result)
    if not np.shares_memory(result, out):
        out[:] = result.view(np.uint8)


def _patterns(data: Bytes, dtype: str) -> Patterns:
    """The same bytes as bit patterns; a copy where tensors of odd sizes left them at an odd address."""
    patterns = data.view(PATTERNS[dtype])
    return patterns if patterns.flags.aligned else patterns.copy()
