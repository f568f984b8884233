"""How far the results of two programs agree."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.checkpoints.layout import Layout, read_layout
from components.sources.folder import FolderSource


def differing(expected: Path, found: Path) -> float:
    """The share of elements whose bits differ, over all tensors of two bfloat16 checkpoints."""
    one, other = read_layout(FolderSource(path=expected)), read_layout(FolderSource(path=found))
    if set(one.tensors) != set(other.tensors):
        raise AssertionError(f"{expected} and {found} hold different tensors")
    different = sum(int(np.count_nonzero(_bits(one, name) != _bits(other, name))) for name in one.tensors)
    return different / one.parameters


def _bits(layout: Layout, name: str) -> NDArray[np.uint16]:
    tensor = layout.tensors[name]
    data = layout.source.read(tensor.file, tensor.entry.start, tensor.entry.length)
    return np.frombuffer(data, dtype=np.uint16)
