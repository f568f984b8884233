"""The files beside the weights of a recycled model, and whose they are.

The target's: the config, because its weights were trained with those values (rotary embeddings, context length), and
the licence. The fine-tuned model's: the tokenizer and chat template, the generation config, and the ids of the
special tokens, because its answers are framed by them.
"""

import json
from collections import Counter
from typing import Any

from components.checkpoints import DTYPE_BYTES, INDEX, Layout
from components.transfer.dtypes import TORCH_NAMES
from components.transfer.plan import TransferPlan, grows

LICENCE_FILES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "LICENSE.txt", "LICENSE.md", "USE_POLICY.md")
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
GENERATION_CONFIG = "generation_config.json"
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def sidecar_files(plan: TransferPlan) -> dict[str, bytes]:
    """Content by name."""
    target, tuned = plan.target_base, plan.source_tuned
    with_tokenizer = tuned if any(tuned.has(path) for path in TOKENIZER_FILES) else target
    with_generation = tuned if tuned.has(GENERATION_CONFIG) else target
    carried = {
        **dict.fromkeys(LICENCE_FILES, target),
        **dict.fromkeys(TOKENIZER_FILES, with_tokenizer),
        GENERATION_CONFIG: with_generation,
    }
    contents = {path: layout.source.read(path) for path, layout in sorted(carried.items()) if layout.has(path)}
    contents["config.json"] = _pretty(_config(plan))
    if target.has(INDEX):
        contents[INDEX] = _pretty(_index(plan))
    return contents


def _config(plan: TransferPlan) -> dict[str, Any]:
    config = dict(plan.target_base.config)
    tuned = plan.source_tuned.config
    config |= {key: tuned[key] for key in TOKEN_IDS if tuned.get(key) is not None}
    if _rows(plan.source_tuned) > _rows(plan.target_base):
        config["vocab_size"] = _rows(plan.source_tuned)
    # transformers 5 writes `dtype`, 4 wrote and reads `torch_dtype`.
    key = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    dtype = _main_dtype(plan)
    if dtype is not None:
        config[key] = TORCH_NAMES[dtype]
    return config


def _rows(layout: Layout) -> int:
    """Rows of the embeddings, 0 without any."""
    shapes = (tensor.entry.shape for name, tensor in layout.tensors.items() if grows(name))
    return max((shape[0] for shape in shapes if shape), default=0)


def _main_dtype(plan: TransferPlan) -> str | None:
    floats = [tensor for shard in plan.shards for tensor in shard.tensors if tensor.is_float]
    sizes: Counter[str] = Counter()
    for tensor in floats:
        sizes[tensor.dtype] += tensor.elements
    return max(sizes, key=sizes.__getitem__, default=None)


def _index(plan: TransferPlan) -> dict[str, Any]:
    tensors = [(tensor, shard.file) for shard in plan.shards for tensor in shard.tensors]
    total = sum(tensor.elements * DTYPE_BYTES[tensor.dtype] for tensor, _ in tensors)
    weight_map = {tensor.name: file for tensor, file in tensors}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
