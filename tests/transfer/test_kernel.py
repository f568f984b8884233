"""The compiled arithmetic against PyTorch's, whose conversions the paper's script relies on."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transfer.kernel import COUNTS, LANES, PATTERNS, SUMS, UNIT, copy_kernel, transfer_kernel

TORCH = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
FLOATS = tuple(TORCH)
SIGNED = {"BF16": np.int16, "F16": np.int16, "F32": np.int32}
QUIET_NAN = {"BF16": 0x7FC0, "F16": 0x7E00, "F32": 0x7FC00000}
INFINITY = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F800000}
SIGN = {"BF16": 0x8000, "F16": 0x8000, "F32": 0x80000000}
SCALES = (1.0, 0.5, -1.0, 1.5, 1e-30, 1e30, -0.3)
EVERY_16_BITS = np.arange(1 << 16, dtype=np.uint16)

ALL_MIXES = [
    (*stored, via, via or stored[2]) for stored in itertools.product(FLOATS, repeat=3) for via in (*FLOATS, None)
]
"""What the dtype policies can ask for: `auto` is the case in which `via` is the fine-tuned model's dtype."""
COVERING_MIXES = [
    (FLOATS[first], FLOATS[first - 2], FLOATS[first - 1], via, via or FLOATS[first - 1])
    for via in (*FLOATS, None)
    for first in range(3)
]
"""Each role with each dtype, cast to each."""


def tensor(patterns, dtype):
    return torch.from_numpy(patterns.view(SIGNED[dtype]).copy()).view(TORCH[dtype])


def patterns(tensor, dtype):
    return tensor.contiguous().view(torch.int32 if dtype == "F32" else torch.int16).numpy().view(PATTERNS[dtype])


def rounded(values, dtype):
    return patterns(torch.tensor(np.asarray(values, dtype=np.float64)).to(TORCH[dtype]), dtype)


def random_patterns(dtype, count, seed):
    """Any bits at all: every exponent, NaNs and infinities among them."""
    return np.random.default_rng(seed).integers(0, 2 ** (8 * PATTERNS[dtype].itemsize), count, dtype=PATTERNS[dtype])


def normal(dtype, count, seed):
    return rounded(np.random.default_rng(seed).standard_normal(count), dtype)


def compute(mix, source, tuned, target, scale=1.0):
    """The stored patterns, sums and counts."""
    result = np.full(len(target), 0x55, dtype=PATTERNS[mix[4]])
    units = -(-len(target) // UNIT)
    sums, counts = np.zeros((units, SUMS)), np.zeros((units, COUNTS), np.int64)
    transfer_kernel(*mix)(source, tuned, target, scale, result, sums, counts)
    return result, sums, counts


def by_pytorch(mix, source, tuned, target, scale=1.0):
    """The reference script's lines: every model loaded in one dtype, float64 arithmetic, one store."""
    via = TORCH[mix[3]] if mix[3] else None
    s, f, t = (tensor(bits, dtype) for bits, dtype in zip((source, tuned, target), mix[:3], strict=True))
    s, f, t = (x.to(via, copy=True) if via else x for x in (s, f, t))
    delta = f.double() - s.double()
    if scale != 1:
        delta *= scale
    t += delta
    assert t.dtype == TORCH[mix[4]]
    return t


def assert_same(found, expected, dtype):
    """Equal bits, but for NaNs, which are all the one quiet NaN: PyTorch's depend on the instruction set."""
    nans = torch.isnan(expected).numpy()
    wanted = np.where(nans, PATTERNS[dtype].type(QUIET_NAN[dtype]), patterns(expected, dtype))
    wrong = np.flatnonzero(found != wanted)
    assert not len(wrong), f"{len(wrong)} wrong, first at {wrong[0]}: {found[wrong[0]]:#x} for {wanted[wrong[0]]:#x}"


def assert_as_pytorch(mix, source, tuned, target, scale=1.0):
    result, _, _ = compute(mix, source, tuned, target, scale)
    assert_same(result, by_pytorch(mix, source, tuned, target, scale), mix[4])


def chosen_patterns(dtype):
    """Zeros, subnormals, half an ulp of one, one and its neighbour, the largest, and what is not finite."""
    half_an_ulp = {"BF16": 0x3B80, "F16": 0x1000}[dtype]
    one = {"BF16": 0x3F80, "F16": 0x3C00}[dtype]
    largest = INFINITY[dtype] - 1
    odd_nan = INFINITY[dtype] + 1
    smallest_normal = {"BF16": 0x80, "F16": 0x400}[dtype]
    positive = [0, 1, smallest_normal - 1, half_an_ulp, one + 1, largest, INFINITY[dtype]]
    return np.array([*positive, SIGN[dtype], SIGN[dtype] | one, odd_nan], dtype=np.uint16)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("scale", SCALES)
def test_every_target_value_against_chosen_pairs(dtype, scale):
    chosen = chosen_patterns(dtype)
    for source in chosen:
        tuned = np.repeat(chosen, len(EVERY_16_BITS))
        target = np.tile(EVERY_16_BITS, len(chosen))
        assert_as_pytorch((dtype,) * 5, np.full_like(target, source), tuned, target, scale)


@pytest.mark.parametrize("mix", COVERING_MIXES)
def test_each_role_in_each_dtype(mix):
    assert_any_bits_as_pytorch(mix)


@pytest.mark.slow
@pytest.mark.parametrize("mix", ALL_MIXES)
def test_every_mix_of_dtypes(mix):
    assert_any_bits_as_pytorch(mix)


def assert_any_bits_as_pytorch(mix):
    count = 2 * UNIT + 77
    anything = [random_patterns(dtype, count, seed) for seed, dtype in enumerate(mix[:3])]
    ordinary = [normal(dtype, count, seed) for seed, dtype in enumerate(mix[:3])]
    for scale in (1.0, -0.3):
        assert_as_pytorch(mix, *anything, scale)
        assert_as_pytorch(mix, *ordinary, scale)


def float32(strategy):
    return strategy.map(lambda value: float(np.float32(value)))


ANY_EXPONENT = st.builds(
    lambda sign, mantissa, exponent: sign * float(np.ldexp(mantissa / 2**23, exponent)),
    st.sampled_from([1, -1]),
    st.one_of(st.sampled_from([0, 1 << 23, (1 << 23) + 1, (1 << 24) - 1, 3 << 22]), st.integers(0, (1 << 24) - 1)),
    st.one_of(st.sampled_from([-149, -126, -25, -24, -15, -14, 0, 15, 16, 127]), st.integers(-149, 127)),
)
NUDGES = st.sampled_from([0.0, 2.0**-9, -(2.0**-9), 2.0**-20, -(2.0**-20), 2.0**-30, -(2.0**-30)])


@st.composite
def near_ties(draw, dtype):
    """A target and a change of (almost) half its ulp, or any change."""
    target = float(tensor(rounded([draw(ANY_EXPONENT)], dtype), dtype).double())
    if draw(st.booleans()):
        return draw(float32(ANY_EXPONENT)), draw(float32(ANY_EXPONENT)), target
    digits = {"BF16": 8, "F16": 11, "F32": 24}[dtype]
    smallest = {"BF16": -133, "F16": -24, "F32": -149}[dtype]
    exponent = max(int(np.frexp(target)[1]) - digits, smallest)
    half = draw(st.sampled_from([1, -1, 3, -3])) * float(np.ldexp(0.5, exponent)) * (1 + draw(NUDGES))
    tiny = draw(st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-149), half * 2.0**-24, -half * 2.0**-26]))
    return float(np.float32(tiny)), float(np.float32(half)), target


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_of_adversarial_values(dtype):
    mix = ("F32", "F32", dtype, None, dtype)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(near_ties(dtype), min_size=1, max_size=64), st.sampled_from(SCALES))
    def check(triples, scale):
        source, tuned, target = (np.array(column) for column in zip(*triples, strict=True))
        assert_as_pytorch(mix, rounded(source, "F32"), rounded(tuned, "F32"), rounded(target, dtype), scale)

    check()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_narrowing_every_float32(dtype):
    """−0 comes out as +0, since +0 is added to it."""
    chunk = 1 << 24
    zeros = np.zeros(chunk, dtype=PATTERNS[dtype])
    for begin in range(0, 1 << 32, chunk):
        target = np.arange(begin, begin + chunk, dtype=np.uint64).astype(np.uint32)
        result, _, _ = compute((dtype, dtype, "F32", None, dtype), zeros, zeros, target)
        assert_same(result, (tensor(target, "F32") + 0.0).to(TORCH[dtype]), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("role", range(3))
def test_a_nan_is_stored_as_the_one_quiet_nan(dtype, role):
    payloads = [INFINITY[dtype] + 1, SIGN[dtype] | QUIET_NAN[dtype] | 5, QUIET_NAN[dtype] | 3]
    values = [rounded(np.ones(67), dtype) for _ in range(3)]
    values[role][[0, 33, 66]] = payloads
    mix = ("F32", "F32", "F32", None, "F32") if dtype == "F32" else (dtype,) * 5
    result, _, counts = compute(mix, *values)
    assert result[[0, 33, 66]].tolist() == [QUIET_NAN[dtype]] * 3
    assert counts[0, 1] == 3


def in_float64(values, dtype):
    return tensor(values, dtype).double().numpy()


def assert_sums(sums, source, tuned, target):
    """Of each unit, as NumPy adds them."""
    for unit, row in enumerate(sums):
        s, f, t = (x[unit * UNIT : (unit + 1) * UNIT] for x in (source, tuned, target))
        finite = np.isfinite(s) & np.isfinite(f) & np.isfinite(t)
        s, f, t = s[finite], f[finite], t[finite]
        delta, gap = f - s, t - s
        for column, terms in enumerate((delta * delta, gap * gap, s * s, delta * gap)):
            assert abs(row[column] - terms.sum()) <= 1e-12 * np.abs(terms).sum(), (unit, column)
        assert row[4] == np.abs(delta).max(initial=0.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 31, UNIT, 3 * UNIT + 77])
def test_sums_and_counts(dtype, count):
    source, tuned, target = (normal(dtype, count, seed) for seed in range(3))
    tuned[::3] = source[::3]
    _, sums, counts = compute((dtype,) * 5, source, tuned, target)
    assert_sums(sums, *(in_float64(x, dtype) for x in (source, tuned, target)))
    starts = range(0, count, UNIT)
    assert counts[:, 0].tolist() == [int((source == tuned)[at : at + UNIT].sum()) for at in starts]
    assert not counts[:, 1:].any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("role", range(3))
@pytest.mark.parametrize("planted", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_counted_and_left_out(dtype, role, planted):
    count = 2 * UNIT
    values = [normal(dtype, count, seed) for seed in range(3)]
    places = [0, 31, 32, 5000, UNIT - 1]
    values[role][places] = rounded([float(planted)], dtype)
    _, sums, counts = compute((dtype,) * 5, *values)
    assert counts[:, 1].tolist() == [len(places), 0]
    assert counts[:, 2].tolist() == [0, 0]
    assert_sums(sums, *(in_float64(x, dtype) for x in values))


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_nothing_is_unchanged_twice_or_forgotten_among_special_values(dtype):
    """The two zeros are equal, and so are any two NaNs."""
    source, tuned = (x.ravel() for x in np.meshgrid(chosen_patterns(dtype), chosen_patterns(dtype)))
    _, _, counts = compute((dtype,) * 5, source, tuned, np.zeros_like(source))
    s, f = in_float64(source, dtype), in_float64(tuned, dtype)
    assert counts[0, 0] == ((s == f) | (np.isnan(s) & np.isnan(f))).sum()
    assert counts[0, 1] == (~np.isfinite(s) | ~np.isfinite(f)).sum()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("extra", [0, 1])
def test_overflow_of_finite_values_is_counted(dtype, extra):
    """In whole lanes, and beside a tail that is none."""
    count = 4 * LANES + extra
    source, tuned, target = (np.zeros(count, dtype=PATTERNS[dtype]) for _ in range(3))
    tuned[[3, 70]] = target[[3, 70]] = INFINITY[dtype] - 1
    source[100], target[100] = SIGN[dtype] | (INFINITY[dtype] - 1), INFINITY[dtype] - 1
    result, _, counts = compute((dtype,) * 5, source, tuned, target)
    assert counts[0].tolist() == [count - 3, 0, 3]
    assert result[[3, 70, 100]].tolist() == [INFINITY[dtype]] * 3


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tail", ["odd length", "an infinity"])
def test_the_quick_and_the_careful_way_add_up_alike(dtype, tail):
    """A unit whose tail makes it go the careful way comes to the very bits of the quick way."""
    count = 100 * LANES
    values = [normal(dtype, count, seed) for seed in range(3)]
    more = [np.zeros(1 if tail == "odd length" else LANES, dtype=PATTERNS[dtype]) for _ in range(3)]
    if tail == "an infinity":
        more[2][:] = INFINITY[dtype]
    quick, sums, counts = compute((dtype,) * 5, *values)
    longer = [np.concatenate(pair) for pair in zip(values, more, strict=True)]
    careful, careful_sums, careful_counts = compute((dtype,) * 5, *longer)
    assert careful[:count].tobytes() == quick.tobytes()
    assert careful_sums.tobytes() == sums.tobytes()
    assert careful_counts[0, 0] == counts[0, 0] + len(more[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_statistics_do_not_depend_on_the_scale(dtype):
    """Although one so large that the result overflows makes units go the careful way."""
    values = [normal(dtype, 100 * LANES, seed) for seed in range(3)]
    _, sums, counts = compute((dtype,) * 5, *values)
    _, careful_sums, careful_counts = compute((dtype,) * 5, *values, 1e300)
    assert careful_counts[0, 2] > 0
    assert careful_sums.tobytes() == sums.tobytes()
    assert careful_counts[0, :2].tolist() == counts[0, :2].tolist()


def test_units_do_not_depend_on_what_stands_beside_them():
    count = 3 * UNIT + 77
    values = [normal("BF16", count, seed) for seed in range(3)]
    values[1][UNIT + 5] = INFINITY["BF16"]
    result, sums, counts = compute(("BF16",) * 5, *values, 1.5)
    for unit in range(4):
        part, part_sums, part_counts = compute(
            ("BF16",) * 5, *(x[unit * UNIT : (unit + 1) * UNIT] for x in values), 1.5
        )
        assert part.tobytes() == result[unit * UNIT : (unit + 1) * UNIT].tobytes()
        assert part_sums.tobytes() == sums[unit].tobytes()
        assert part_counts.tobytes() == counts[unit].tobytes()


def test_equal_nans_count_as_unchanged():
    """What is kept as it is depends on this count, so the result would not be the same otherwise."""
    nans = np.full(LANES, QUIET_NAN["BF16"], dtype=np.uint16)
    ones = rounded(np.ones(LANES), "BF16")
    _, _, counts = compute(("BF16",) * 5, nans, nans, ones)
    assert counts[0, 0] == LANES


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_kept_bits_are_the_very_bits(dtype):
    result = np.zeros_like(EVERY_16_BITS)
    changed = copy_kernel(dtype, dtype, dtype)(EVERY_16_BITS, result)
    assert result.tobytes() == EVERY_16_BITS.tobytes()
    assert changed == len(EVERY_16_BITS) - 1
    assert copy_kernel(dtype, None, dtype)(EVERY_16_BITS, result) == 0


@pytest.mark.parametrize(("stored", "via"), [("F32", "BF16"), ("F32", "F16"), ("BF16", "F16"), ("F16", "BF16")])
def test_kept_bits_are_cast_as_pytorch_casts(stored, via):
    values = random_patterns(stored, 1 << 16, 0)
    result = np.zeros(len(values), dtype=PATTERNS[via])
    copy_kernel(stored, via, via)(values, result)
    assert_same(result, tensor(values, stored).to(TORCH[via]), via)
