"""Weights that are no numbers: NaN and infinity, which make every answer of a model one."""

import numpy as np

from components.checkpoints import DTYPE_BYTES, Layout

EXPONENTS = {"BF16": ("<u2", 0x7F80), "F16": ("<u2", 0x7C00), "F32": ("<u4", 0x7F800000)}
"""By dtype, its bit patterns and the bits of the exponent, which NaN and infinity alone have all set (IEEE 754)."""
BLOCK_BYTES = 16 << 20


def count_nonfinite(layout: Layout) -> dict[str, int]:
    """Count the elements of a checkpoint that are NaN or infinite, by tensor, without tensors that have none.

    Raises:
        RecycleError: it cannot be read.
    """
    counts = {}
    for name, tensor in layout.tensors.items():
        entry = tensor.entry
        if entry.dtype not in EXPONENTS:
            continue
        patterns, exponent = EXPONENTS[entry.dtype]
        step = BLOCK_BYTES // DTYPE_BYTES[entry.dtype] * DTYPE_BYTES[entry.dtype]
        lost = 0
        for start in range(0, entry.length, step):
            raw = layout.source.read(tensor.file, entry.start + start, min(step, entry.length - start))
            lost += int(((np.frombuffer(raw, patterns) & exponent) == exponent).sum())
        if lost:
            counts[name] = lost
    return counts
