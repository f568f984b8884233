"""How far apart two bases are, from a few megabytes of each."""

import math

import numpy as np
from numpy.typing import NDArray

from components.checkpoints import DTYPE_BYTES, Layout
from components.errors import BadCheckpoint
from components.transfer import FLOAT_DTYPES

Floats = NDArray[np.float64]

SAMPLED_TENSORS = 32
SAMPLED_ELEMENTS = 32_768
"""From the middle of each: 2 to 4 MB of a base in all, however large it is."""


def sampled_relative_gap(source: Layout, target: Layout) -> float:
    """‖M_t − M_s‖ / ‖M_s‖ over a fixed sample of the matrices that both have in one shape.

    Elements that are NaN or infinite are left out. Zero where they have no matrix in one shape.

    Raises:
        BadCheckpoint: of one or the other, nothing of the sample is finite.
    """
    names = sorted(name for name in source.tensors.keys() & target.tensors.keys() if _comparable(name, source, target))
    stride = max(1, math.ceil(len(names) / SAMPLED_TENSORS))
    gap = norm = 0.0
    usable = 0
    for name in names[::stride]:
        ours, theirs = _sample(source, name), _sample(target, name)
        finite = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[finite], theirs[finite]
        usable += ours.size
        gap += float(np.square(theirs - ours).sum())
        norm += float(np.square(ours).sum())
    if names and not usable:
        raise BadCheckpoint(
            f"none of the sampled weights is a finite number in both {source.source.name} and {target.source.name}",
            hint="look at their weights; a checkpoint of NaN or infinities cannot be transferred from or onto",
        )
    return math.sqrt(gap / norm) if norm else 0.0


def _comparable(name: str, source: Layout, target: Layout) -> bool:
    ours, theirs = source.tensors[name].entry, target.tensors[name].entry
    both_floats = ours.dtype in FLOAT_DTYPES and theirs.dtype in FLOAT_DTYPES
    return both_floats and len(ours.shape) == 2 and ours.shape == theirs.shape


def _sample(layout: Layout, name: str) -> Floats:
    tensor = layout.tensors[name]
    width = DTYPE_BYTES[tensor.entry.dtype]
    count = min(SAMPLED_ELEMENTS, tensor.entry.elements)
    start = tensor.entry.start + (tensor.entry.elements - count) // 2 * width
    raw = layout.source.read(tensor.file, start, count * width)
    return widen(np.frombuffer(raw, dtype=np.uint8), tensor.entry.dtype)


def widen(raw: NDArray[np.uint8], dtype: str) -> Floats:
    """Bytes of a float dtype, as safetensors spells it, as float64."""
    if dtype == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    values: Floats = raw.view({"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float64)
    return values
