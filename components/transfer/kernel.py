"""The arithmetic of fine-tuning transfer, fused: one load of each input and one store of the result an element.

Bit for bit that of the paper's reference script (pjlintw/finetuning-transfer, tools/run_transfer_finetuning.py): all
models are loaded in one dtype (a cast that rounds to nearest, ties to even), the diff vector is formed and scaled in
float64, and the sum is stored once; PyTorch stores a float64 into a 16-bit type by way of float32. A NaN is stored as
the one quiet NaN of its dtype, so that equal inputs give equal bytes on every machine.

Arrays hold bit patterns, uint16 for BF16 and F16 and uint32 for F32; a dtype is a number here, for the compiler's sake.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

UNIT = 1 << 14
"""Elements that one row of sums covers, counted from the tensor's start: sums do not depend on how it is cut."""

LANES = 32
"""Partial sums within a unit: a fixed number, so that every instruction set adds in one order."""

SUMS = 5
"""Columns of `sums`: Σ Δ², Σ (M_t − M_s)², Σ M_s², Σ Δ·(M_t − M_s), max |Δ|."""

COUNTS = 3
"""Columns of `counts`: elements unchanged, not finite in an input, and not finite in the result alone."""

PATTERNS: dict[str, np.dtype[Any]] = {"BF16": np.dtype("<u2"), "F16": np.dtype("<u2"), "F32": np.dtype("<u4")}

Patterns = NDArray[Any]
Kernel = Callable[[Patterns, Patterns, Patterns, float, Patterns, NDArray[np.float64], NDArray[np.int64]], None]

_BF16, _F16, _F32 = range(3)
_CODES = {"BF16": _BF16, "F16": _F16, "F32": _F32}
_LARGEST = {"BF16": 0x7F7F, "F16": 0x7BFF, "F32": 0x7F7FFFFF}
_MAGNITUDE = {"BF16": 0x7FFF, "F16": 0x7FFF, "F32": 0x7FFFFFFF}


@cache
def transfer_kernel(source: str, tuned: str, target: str, via: str | None, result: str) -> Kernel:
    """Compile M_t + λ·(FT(M_s) − M_s) for stored dtypes as safetensors spells them.

    Args:
        source: dtype that M_s is stored in.
        tuned: dtype that FT(M_s) is stored in.
        target: dtype that M_t is stored in.
        via: dtype that all three are cast to first, None for no cast.
        result: dtype to store.

    Returns:
        `kernel(source, tuned, target, scale, result, sums, counts)`. The first three and `result` are bit patterns of
        n elements, the first of them the first of a unit; `sums` is float64 [⌈n/UNIT⌉, SUMS] and `counts` int64
        [⌈n/UNIT⌉, COUNTS], both zeroed. Elements where an input is NaN or infinite are counted and left out of the
        sums.
    """
    stored = _CODES[source], _CODES[tuned], _CODES[target]
    s_from, f_from, t_from = stored
    s_via, f_via, t_via = stored if via is None else (_CODES[via],) * 3
    to, largest, magnitude = _CODES[result], _LARGEST[result], _MAGNITUDE[result]

    def kernel(source, tuned, target, scale, result, sums, counts):
        lanes = np.zeros((SUMS, LANES))
        for unit in range(len(sums)):
            begin = unit * UNIT
            end = min(len(result), begin + UNIT)
            m_s, ft, m_t, out = source[begin:end], tuned[begin:end], target[begin:end], result[begin:end]
            sound = len(out) % LANES == 0
            if sound:
                counts[unit, 0], overflowed = _fast_unit(
                    m_s, ft, m_t, scale, out, lanes, s_from, s_via, f_from, f_via, t_from, t_via, to, largest, magnitude
                )
                _take(lanes, sums[unit])
                # An input that is not finite shows in one of the squares.
                sound = not overflowed and sums[unit, 0] + sums[unit, 1] + sums[unit, 2] < np.inf
            if not sound:
                counts[unit, 0], counts[unit, 1], counts[unit, 2] = _safe_unit(
                    m_s, ft, m_t, scale, out, lanes, s_from, s_via, f_from, f_via, t_from, t_via, to, largest, magnitude
                )
                _take(lanes, sums[unit])

    return _compile(kernel)


# The two below are inlined into the kernel, where the dtypes are constants: the compiler drops the other branches.


@njit(inline="always")
def _fast_unit(m_s, ft, m_t, scale, out, lanes, s_from, s_via, f_from, f_via, t_from, t_via, to, largest, magnitude):
    """A unit of whole lanes, taken to be finite; the compiler makes vector code of it.

    Returns:
        How many elements are unchanged, and whether one of the result is too large for its dtype.
    """
    # Not unpacked, which would hide from the compiler that rows are contiguous.
    delta_squared, gap_squared, source_squared = lanes[0], lanes[1], lanes[2]
    delta_gap, max_delta = lanes[3], lanes[4]
    unchanged, overflowed = 0, False
    for start in range(0, len(out), LANES):
        for lane in range(LANES):
            index = start + lane
            s = _load(m_s[index], s_from, s_via)
            f = _load(ft[index], f_from, f_via)
            t = _load(m_t[index], t_from, t_via)
            delta, gap = f - s, t - s
            stored = _narrow(t + scale * delta, to)
            out[index] = stored
            unchanged += f == s
            delta_squared[lane] += delta * delta
            gap_squared[lane] += gap * gap
            source_squared[lane] += s * s
            delta_gap[lane] += delta * gap
            size = abs(delta)
            max_delta[lane] = size if size > max_delta[lane] else max_delta[lane]
            overflowed |= (stored & magnitude) > largest
    return unchanged, overflowed


@njit(inline="always")
def _safe_unit(m_s, ft, m_t, scale, out, lanes, s_from, s_via, f_from, f_via, t_from, t_via, to, largest, magnitude):
    """A unit of any length with any values: the same sums in the same order.

    Returns:
        How many elements are unchanged, not finite in an input, and not finite in the result alone.
    """
    delta_squared, gap_squared, source_squared = lanes[0], lanes[1], lanes[2]
    delta_gap, max_delta = lanes[3], lanes[4]
    unchanged, nonfinite, overflows = 0, 0, 0
    for index in range(len(out)):
        s = _load(m_s[index], s_from, s_via)
        f = _load(ft[index], f_from, f_via)
        t = _load(m_t[index], t_from, t_via)
        delta, gap = f - s, t - s
        stored = _narrow(t + scale * delta, to)
        out[index] = stored
        unchanged += f == s or (f != f and s != s)
        if not abs(s) + abs(f) + abs(t) < np.inf:
            nonfinite += 1
        else:
            lane = index % LANES
            delta_squared[lane] += delta * delta
            gap_squared[lane] += gap * gap
            source_squared[lane] += s * s
            delta_gap[lane] += delta * gap
            max_delta[lane] = max(max_delta[lane], abs(delta))
            overflows += (stored & magnitude) > largest
    return unchanged, nonfinite, overflows


@cache
def copy_kernel(stored: str, via: str | None, result: str) -> Callable[[Patterns, Patterns], int]:
    """Compile the plain copy of a model's bit patterns, cast to `via` and `result` where these differ from `stored`.

    Returns:
        `copy(patterns, result)`, which overwrites `result` and gives the number of its elements that were different.
    """
    copy_from, copy_via, to = _CODES[stored], _CODES[via or stored], _CODES[result]

    def copy(patterns, result):
        changed = 0
        for index in range(len(result)):
            kept = np.uint32(patterns[index])
            if not copy_from == copy_via == to:
                kept = _narrow(_load(kept, copy_from, copy_via), to)
            changed += kept != result[index]
            result[index] = kept
        return changed

    return _compile(copy)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep the compiled code, as on a read-only file system
        return njit(nogil=True)(function)


@njit
def _load(bits, stored, via):
    value = _widen(bits, stored)
    return value if stored == via else _widen(_narrow(value, via), via)


@njit
def _widen(bits, dtype):
    """Bit pattern to float64, exactly."""
    if dtype == _BF16:
        return np.float64(np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32))
    if dtype == _F32:
        return np.float64(np.uint32(bits).view(np.float32))
    magnitude = np.uint32(np.uint32(bits) & np.uint32(0x7FFF))
    sign = np.uint32(np.uint32(np.uint32(bits) & np.uint32(0x8000)) << np.uint32(16))
    # Read as float32, the pattern moved up has an exponent 112 too small, subnormals included: the product is exact.
    scaled = np.float32(np.uint32(magnitude << np.uint32(13)).view(np.float32) * np.float32(2.0**112))
    special = np.uint32(0x7F800000) if magnitude >= np.uint32(0x7C00) else np.uint32(0)
    return np.float64(np.uint32(scaled.view(np.uint32) | special | sign).view(np.float32))


@njit
def _narrow(value, dtype):
    """float64 to bit pattern, as uint32, rounded as PyTorch rounds."""
    bits = np.float32(value).view(np.uint32)
    if dtype == _F32:
        return np.uint32(0x7FC00000) if value != value else bits
    if dtype == _BF16:
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        rounded = np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
        # The carry of the rounding would turn some NaNs into infinities.
        return np.uint32(0x7FC0) if value != value else rounded
    sign = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(0x8000))
    magnitude = np.uint32(bits & np.uint32(0x7FFFFFFF))
    odd = np.uint32(np.uint32(magnitude >> np.uint32(13)) & np.uint32(1))
    # 112 is the difference of the two formats' exponent biases.
    rounded = np.uint32(np.uint32(magnitude + np.uint32(0xFFF) + odd - np.uint32(112 << 23)) >> np.uint32(13))
    # Adding 0.5 leaves a half-precision subnormal, rounded by the addition itself, in the lowest bits.
    raised = np.float32(magnitude.view(np.float32) + np.float32(0.5))
    subnormal = np.uint32(raised.view(np.uint32) - np.uint32(126 << 23))
    rounded = subnormal if magnitude < np.uint32(113 << 23) else rounded
    # 65520, halfway from the largest float16 to the next power of two.
    rounded = np.uint32(0x7C00) if magnitude >= np.uint32(0x477FF000) else rounded
    return np.uint32(0x7E00) if value != value else np.uint32(rounded | sign)


@njit
def _take(lanes, sums):
    """Add the lanes up, in order, and clear them for the next unit."""
    for column in range(SUMS):
        total = 0.0
        for lane in range(LANES):
            value = lanes[column, lane]
            total = total + value if column < SUMS - 1 else max(total, value)
            lanes[column, lane] = 0.0
        sums[column] = total
