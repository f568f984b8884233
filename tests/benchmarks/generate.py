"""Three releases of one Llama shape, made in seconds: all values are one random block's, cut anew for each tensor."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.checkpoints.description import verify
from components.checkpoints.manifest import MANIFEST
from components.sources.folder import FolderSource

ROLES = ("base", "tuned", "target")
PLAIN = "plain"
"""Folder with the same three under other names (hard links), without manifests."""
SHARD_BYTES = 1_000_000_000
BF16_BYTES = 2
BLOCK = 1 << 24
STEP = 1_000_003
"""How far the first values of two tensors lie apart in the block: odd, so that no two tensors are alike."""
STD = 0.02
CHANGE = {"base": 0.0, "tuned": 2e-4, "target": 2e-3}
"""Standard deviation of what is added to the source base: a fine-tune's change is a hundredth of the weights."""

Tensors = list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, kw_only=True)
class Llama:
    """The sizes of a Llama model, and so the names and shapes of its tensors."""

    hidden: int
    vocabulary: int
    layers: int

    @classmethod
    def of(cls, parameters: int) -> "Llama":
        """About `parameters` parameters: as wide as models of that size are, as deep as it takes."""
        widths = ((5_000_000_000, 4096), (500_000_000, 2048), (50_000_000, 1024), (0, 256))
        hidden = next(width for least, width in widths if parameters >= least)
        bare = cls(hidden=hidden, vocabulary=32_000 if hidden >= 1024 else 1_000, layers=0)
        layer = size([(name, shape) for name, shape in bare._layer(0)])
        return cls(hidden=hidden, vocabulary=bare.vocabulary, layers=max(1, (parameters - size(bare.tensors)) // layer))

    @property
    def intermediate(self) -> int:
        return self.hidden * 11 // 4

    @property
    def tensors(self) -> Tensors:
        embeddings = (self.vocabulary, self.hidden)
        return [
            ("model.embed_tokens.weight", embeddings),
            *(tensor for index in range(self.layers) for tensor in self._layer(index)),
            ("model.norm.weight", (self.hidden,)),
            ("lm_head.weight", embeddings),
        ]

    def _layer(self, index: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        wide, keys = self.hidden, self.hidden // 4
        shapes = {
            "self_attn.q_proj": (wide, wide),
            "self_attn.k_proj": (keys, wide),
            "self_attn.v_proj": (keys, wide),
            "self_attn.o_proj": (wide, wide),
            "mlp.gate_proj": (self.intermediate, wide),
            "mlp.up_proj": (self.intermediate, wide),
            "mlp.down_proj": (wide, self.intermediate),
            "input_layernorm": (wide,),
            "post_attention_layernorm": (wide,),
        }
        for name, shape in shapes.items():
            yield f"model.layers.{index}.{name}.weight", shape

    @property
    def config(self) -> dict[str, object]:
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // 64,
            "num_key_value_heads": self.hidden // 256,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": False,
            "dtype": "bfloat16",
        }


def size(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """Number of elements."""
    return sum(int(np.prod(shape)) for _, shape in tensors)


def generate(place: Path, llama: Llama, *, sparse: bool = False) -> Path:
    """Write the three into `place`, with manifests, and as hard links without; return `place`.

    Sparse files have real headers and holes for values, and no manifests.
    """
    for role, block in zip(ROLES, [None] * 3 if sparse else _blocks(), strict=True):
        folder = place / PLAIN / role
        folder.mkdir(parents=True)
        # The name makes three different checkpoints even of holes.
        (folder / "config.json").write_text(json.dumps(llama.config | {"_name_or_path": role}))
        _write_shards(folder, llama.tensors, block)
        if not sparse:
            _with_manifest(folder, place / role)
    os.sync()
    return place


def input_files(place: Path) -> list[Path]:
    """The weight files of all three."""
    return sorted((place / PLAIN).glob("*/*.safetensors"))


def _blocks() -> Iterator[NDArray[np.uint16]]:
    generator = np.random.default_rng(0)
    base = _rounded(generator.standard_normal(BLOCK, dtype=np.float32) * np.float32(STD))
    for role in ROLES:
        change = generator.standard_normal(BLOCK, dtype=np.float32) * np.float32(CHANGE[role])
        yield _rounded((base.astype(np.uint32) << 16).view(np.float32) + change)


def _rounded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Bit patterns in bfloat16, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _write_shards(folder: Path, tensors: Tensors, block: NDArray[np.uint16] | None) -> None:
    shards = _shards(tensors)
    place = {}
    first = 0
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        place |= {tensor: name for tensor, _ in shard}
        _write_shard(folder / name, shard, block, first)
        first += len(shard)
    index = {"metadata": {"total_size": size(tensors) * BF16_BYTES}, "weight_map": place}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(tensors: Tensors) -> list[Tensors]:
    shards: list[Tensors] = [[]]
    for tensor in tensors:
        if shards[-1] and size([*shards[-1], tensor]) * BF16_BYTES > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    return shards


def _write_shard(path: Path, shard: Tensors, block: NDArray[np.uint16] | None, first: int) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shard:
        begin, end = end, end + size([(name, shape)]) * BF16_BYTES
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # as the safetensors library does: data is not at a page, as in most files
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        if block is None:
            file.truncate(file.tell() + end)
            return
        for index, tensor in enumerate(shard, first):
            for part in _cut(block, index * STEP % BLOCK, size([tensor])):
                file.write(part.data)


def _cut(block: NDArray[np.uint16], start: int, count: int) -> Iterator[NDArray[np.uint16]]:
    while count:
        part = block[start : start + count]
        yield part
        start, count = 0, count - len(part)


def _with_manifest(plain: Path, folder: Path) -> None:
    folder.mkdir()
    for path in plain.iterdir():
        os.link(path, folder / path.name)
    (folder / MANIFEST).write_bytes(verify(FolderSource(path=folder)).to_json())
