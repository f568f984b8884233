"""The arithmetic against PyTorch, whose conversions the paper's script relies on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.arithmetic import add_scaled_delta, cast, narrow, widen

TORCH = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
EVERY_16_BITS = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)


def as_torch(raw, dtype):
    return torch.frombuffer(bytearray(raw.tobytes()), dtype=TORCH[dtype])


def same(ours, tensor):
    """Equal bits, NaNs counting as equal: PyTorch's own NaN bits depend on the instruction set."""
    theirs = np.frombuffer(tensor.contiguous().view(torch.uint8).numpy().tobytes(), dtype=np.uint8)
    width = tensor.element_size()
    ours, theirs = ours.reshape(-1, width), theirs.reshape(-1, width)
    return bool(((ours == theirs).all(axis=1) | torch.isnan(tensor).numpy()).all())


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_widening_is_exact_for_every_pattern(dtype):
    theirs = as_torch(EVERY_16_BITS, dtype).double().numpy()
    np.testing.assert_array_equal(widen(EVERY_16_BITS, dtype), theirs)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_a_stored_value_survives_the_round_trip(dtype):
    values = widen(EVERY_16_BITS, dtype)
    assert same(narrow(values, dtype), as_torch(EVERY_16_BITS, dtype))


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=64))
def test_narrowing_rounds_as_pytorch_does(dtype, values):
    array = np.array(values, dtype=np.float64)
    assert same(narrow(array, dtype), torch.from_numpy(array.copy()).to(TORCH[dtype]))


def test_narrowing_rounds_ties_and_edges_as_pytorch_does():
    exponents = np.arange(-160, 129)
    mantissas = np.concatenate([1 + np.arange(0, 512) / 512, 1 + np.arange(0, 512) / 512 + 2.0**-30])
    values = (np.exp2(exponents)[:, None] * mantissas[None, :]).ravel()
    values = np.concatenate([values, -values, [0.0, -0.0, np.inf, -np.inf]])
    for dtype in ("BF16", "F16", "F32"):
        assert same(narrow(values, dtype), torch.from_numpy(values.copy()).to(TORCH[dtype]))


@pytest.mark.parametrize("stored", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("via", ["BF16", "F16", "F32"])
def test_casting_first_is_what_loading_in_a_dtype_does(stored, via):
    raw = np.random.default_rng(0).integers(0, 256, size=1 << 16, dtype=np.uint8)
    theirs = as_torch(raw, stored).to(TORCH[via]).double().numpy()
    np.testing.assert_array_equal(cast(raw, stored, via), theirs)


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0, 1.5, 1e-30, 1e30])
def test_every_target_value_against_chosen_pairs(scale):
    target = as_torch(EVERY_16_BITS, "BF16")
    pairs = [
        (0.0, 0.0),
        (1.0, 1.0078125),
        (3.0e38, -3.0e38),
        (1e-40, 2e-40),
        (float("inf"), 1.0),
        (-0.0, 0.0),
        (0.1, 0.3),
    ]
    for base, tuned in pairs:
        source = torch.full_like(target, base)
        fine = torch.full_like(target, tuned)
        expected = target.clone()
        delta = fine.double() - source.double()
        if scale != 1:
            delta *= scale
        expected += delta
        wide = [
            cast(np.frombuffer(t.view(torch.uint8).numpy().tobytes(), np.uint8), "BF16", None)
            for t in (target, fine, source)
        ]
        assert same(narrow(add_scaled_delta(*wide, scale), "BF16"), expected)
