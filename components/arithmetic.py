"""The arithmetic of fine-tuning transfer, bit for bit that of the paper's reference script.

Reference: pjlintw/finetuning-transfer, tools/run_transfer_finetuning.py. All models are loaded in one dtype (a cast
that rounds to nearest, ties to even), the diff vector is formed and scaled in float64, and the sum is stored once;
PyTorch stores a float64 into a 16-bit type by way of float32.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_NUMPY: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


def widen(raw: Bytes, dtype: str) -> Floats:
    """Stored bytes to float64, exactly."""
    with np.errstate(invalid="ignore"):  # signalling NaNs are carried, not announced
        return _widen(raw, dtype)


def _widen(raw: Bytes, dtype: str) -> Floats:
    if dtype == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    values: Floats = raw.view(_NUMPY[dtype]).astype(np.float64)
    return values


def narrow(values: Floats, dtype: str) -> Bytes:
    """float64 to stored bytes, rounded as PyTorch rounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        singles = values.astype(np.float32)
        if dtype == "F32":
            return singles.view(np.uint8)
        if dtype == "F16":
            return singles.astype(np.float16).view(np.uint8)
    bits = singles.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    # The carry of the rounding above would turn some NaNs into infinities.
    return np.where(np.isnan(singles), np.uint16(0x7FC0), rounded).view(np.uint8)


def cast(raw: Bytes, stored: str, dtype: str | None) -> Floats:
    """Stored bytes as float64, by way of `dtype` where the policy casts first."""
    values = widen(raw, stored)
    return values if dtype in (None, stored) else widen(narrow(values, str(dtype)), str(dtype))


def add_scaled_delta(target: Floats, tuned: Floats, source: Floats, scale: float) -> Floats:
    """M_t + λ·(FT(M_s) − M_s) in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        delta = tuned - source
        if scale != 1:
            delta *= scale
        return target + delta
