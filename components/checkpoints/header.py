"""The safetensors format: headers read strictly, headers written.

A file is 8 bytes N (little-endian), N bytes of JSON, then the tensors' bytes with no holes and no overlap
(https://github.com/huggingface/safetensors, README "Format"). Files come from strangers, so every rule of the
format is checked before an offset is used.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from components.errors import BadCheckpoint

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit (safetensors, `MAX_HEADER_SIZE`)."""

MAX_DIMENSIONS = 64
"""What PyTorch can hold."""

DATA_ALIGNMENT = 4096
"""Where tensors start in files written here, so that whole pages can be written and read past the page cache."""

DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of one file."""

    name: str
    dtype: str
    """As the format spells it: `BF16`, `F32`, …"""
    shape: tuple[int, ...]
    start: int
    """Absolute offset of its first byte in the file."""

    @property
    def elements(self) -> int:
        """Number of elements, 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Header:
    """A file's header: its tensors in offset order."""

    tensors: tuple[TensorEntry, ...]
    metadata: dict[str, str]
    data_start: int


def read_header(read: Callable[[int, int], bytes], size: int, where: str) -> Header:
    """Read and check the header of one safetensors file.

    Args:
        read: Gives `length` bytes of the file from `start`.
        size: Bytes of the whole file.
        where: What errors call the file.

    Raises:
        BadCheckpoint: the file breaks a rule of the format, or is shorter than its header promises.
    """
    if size < 8:
        raise _bad(where, f"it has {size} bytes, fewer than the 8 that a safetensors file starts with")
    header_bytes = int.from_bytes(read(0, 8), "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise _bad(where, f"its header claims {header_bytes} bytes; the format allows {MAX_HEADER_BYTES}")
    if 8 + header_bytes > size:
        raise _bad(where, f"its header claims {header_bytes} bytes, but the file has {size}: it is cut short")
    document = _parse(read(8, header_bytes), where)
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(where, "its __metadata__ is not a map of strings")
    data_start = 8 + header_bytes
    tensors = sorted(
        (_entry(name, value, data_start, where) for name, value in document.items()),
        key=lambda tensor: (tensor.start, tensor.length),
    )
    _check_contiguous(tensors, data_start, size, where)
    return Header(tensors=tuple(tensors), metadata=metadata, data_start=data_start)


def build_header(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: dict[str, str]) -> bytes:
    """The first bytes of a file whose tensors, given as (name, dtype, shape), follow in this order."""
    document: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + math.prod(shape) * DTYPE_BYTES[dtype]
        document[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-(8 + len(encoded)) % DATA_ALIGNMENT)
    return len(encoded).to_bytes(8, "little") + encoded


def _parse(raw: bytes, where: str) -> dict[str, object]:
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _bad(where, f"its header is not the JSON that the format asks for ({error})") from None
    if not isinstance(document, dict):
        raise _bad(where, "its header is not a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _entry(name: str, value: object, data_start: int, where: str) -> TensorEntry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _bad(where, f"its entry for {name!r} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        quantized = isinstance(dtype, str) and dtype.startswith(("F4", "F6", "F8"))
        more = ": it is quantized, and a release in bfloat16 or float32 is needed" if quantized else ""
        raise _bad(where, f"tensor {name!r} has the dtype {dtype!r}, which this version does not know{more}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise _bad(where, f"tensor {name!r} has shape {shape!r} and offsets {offsets!r}; both must be whole numbers")
    if len(shape) > MAX_DIMENSIONS or not _encodable(name):
        raise _bad(where, f"tensor {name[:80]!a} has {len(shape)} dimensions, or a name that is no text")
    entry = TensorEntry(name=name, dtype=dtype, shape=tuple(shape), start=data_start + offsets[0])
    if offsets[1] - offsets[0] != entry.length:
        raise _bad(where, f"tensor {name!r} of shape {shape} in {dtype} needs other bytes than {offsets}")
    return entry


def _encodable(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_contiguous(tensors: list[TensorEntry], data_start: int, size: int, where: str) -> None:
    position = data_start
    for tensor in tensors:
        if tensor.start != position:
            raise _bad(where, f"tensor {tensor.name!r} starts at byte {tensor.start}, but byte {position} comes next")
        position += tensor.length
    if position != size:
        short = "cut short" if size < position else "followed by bytes that belong to no tensor"
        raise _bad(where, f"its header describes {position} bytes, but the file has {size}: it is {short}")


def _bad(where: str, problem: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{where} is not a sound safetensors file: {problem}",
        hint="get the file again from its source; if it came from there like this, save the model anew",
    )
