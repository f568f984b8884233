import contextlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.checkpoints.header import build_header, read_header
from components.errors import BadCheckpoint


def read(raw):
    return read_header(lambda start, length: raw[start : start + length], len(raw), "a.safetensors")


def file(header, data=b"", *, length=None):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_is_built_is_read_back():
    tensors = [("b", "BF16", (2, 3)), ("a", "F32", ()), ("empty", "F16", (0, 7)), ("λ", "I64", (1,))]
    raw = build_header(tensors, {"format": "pt"}) + bytes(12 + 4 + 8)
    header = read(raw)
    assert sorted((t.name, t.dtype, t.shape) for t in header.tensors) == sorted(tensors)
    assert header.metadata == {"format": "pt"}
    assert header.data_start % 8 == 0


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "fewer than the 8"),
        (b"\x08\0\0\0", "fewer than the 8"),
        (file({}, length=1 << 40), "the format allows"),
        (file({"a": entry()}, length=5000), "cut short"),
        (file(b"\xff\xfe{}"), "JSON"),
        (file(b"[1, 2]"), "not a JSON object"),
        (file(b'{"a": ' * 1), "JSON"),
        (file(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "JSON"),
        (file(b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": {}}', bytes(8)), "twice"),
        (file({"a": entry(dtype="F99")}, bytes(8)), "F99"),
        (file({"a": entry(dtype=["F32"])}, bytes(8)), "dtype"),
        (file({"a": entry(offsets=(-8, 0))}, bytes(8)), "whole numbers"),
        (file({"a": entry(offsets=(0, 8.0))}, bytes(8)), "whole numbers"),
        (file({"a": entry(offsets=(0, True))}, bytes(8)), "whole numbers"),
        (file({"a": entry(offsets=(0, 2**63))}, bytes(8)), "whole numbers"),
        (file({"a": entry(offsets=(0, 8, 16))}, bytes(16)), "whole numbers"),
        (file({"a": entry(shape=(3,))}, bytes(8)), "needs other bytes"),
        (file({"a": entry(shape=(2**40, 2**40))}, bytes(8)), "needs"),
        (file({"a": entry(shape=[1] * 65)}, bytes(8)), "dimensions"),
        (file({"a": entry(shape=[2**62] * 60)}, bytes(8)), "needs"),
        (file(b'{"\\ud800": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)), "no text"),
        (file({"a": entry(offsets=(8, 0))}, bytes(8)), "needs other bytes"),
        (file({"a": entry(), "b": entry()}, bytes(8)), "comes next"),
        (file({"a": entry(offsets=(4, 12))}, bytes(12)), "comes next"),
        (file({"a": entry()}, bytes(4)), "cut short"),
        (file({"a": entry()}, bytes(12)), "belong to no tensor"),
        (file({"a": {**entry(), "extra": 1}}, bytes(8)), "exactly"),
        (file({"a": 3}, bytes(8)), "exactly"),
        (file({"__metadata__": {"a": 1}}), "map of strings"),
        (file({"__metadata__": "x"}), "map of strings"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(raw, told):
    with pytest.raises(BadCheckpoint, match=told):
        read(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    with contextlib.suppress(BadCheckpoint):
        read(raw)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 7), st.data())
def test_a_flipped_bit_in_the_header_never_escapes(bit, data):
    raw = bytearray(build_header([("a.weight", "BF16", (4, 4)), ("b", "F32", (3,))], {"format": "pt"}) + bytes(44))
    position = data.draw(st.integers(0, len(raw) - 45))
    raw[position] ^= 1 << bit
    try:
        header = read(bytes(raw))
    except BadCheckpoint:
        return
    assert all(tensor.start + tensor.length <= len(raw) for tensor in header.tensors)
