"""The files beside the weights of a recycled model, and whose they are.

The target's: the config, because its weights were trained with those values (rotary embeddings, context length), and
the licence. The fine-tuned model's: the tokenizer and chat template, the generation config, and the ids of the
special tokens, because its answers are framed by them.
"""

import json
from collections import Counter
from typing import Any

from components.compatibility import TransferPlan, grows
from components.dtypes import TORCH_NAMES
from components.layout import INDEX, Layout
from components.tensorfile import DTYPE_BYTES

LICENCE_FILES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "LICENSE.txt", "LICENSE.md", "USE_POLICY.md")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def files_beside(plan: TransferPlan) -> dict[str, bytes]:
    """Content by name."""
    target, tuned = plan.target_base, plan.source_tuned
    carried = {file.path: tuned for file in tuned.files if _goes_with_tokenizer(file.path)}
    if not any(path.startswith("tokenizer") for path in carried):
        carried |= {file.path: target for file in target.files if _goes_with_tokenizer(file.path)}
    carried |= {path: target for path in LICENCE_FILES if target.has(path)}
    contents = {path: layout.source.read(path) for path, layout in sorted(carried.items())}
    contents["config.json"] = _pretty(_config(plan))
    if target.has(INDEX):
        contents[INDEX] = _pretty(_index(plan))
    return contents


def _goes_with_tokenizer(path: str) -> bool:
    return path not in ("config.json", INDEX) and path.endswith((".json", ".jinja", ".model", ".txt", ".tiktoken"))


def _config(plan: TransferPlan) -> dict[str, Any]:
    config = dict(plan.target_base.config)
    tuned = plan.source_tuned.config
    config |= {key: tuned[key] for key in TOKEN_IDS if tuned.get(key) is not None}
    if _vocabulary_grew(plan.source_tuned, plan.target_base):
        config["vocab_size"] = tuned["vocab_size"]
    dtype = TORCH_NAMES[_main_dtype(plan)]
    # transformers 5 writes `dtype`, 4 wrote and reads `torch_dtype`.
    config |= {key: dtype for key in ("dtype", "torch_dtype") if key in config}
    return config


def _vocabulary_grew(tuned: Layout, target: Layout) -> bool:
    return any(
        grows(name) and name in target.tensors and tensor.entry.shape[0] > target.tensors[name].entry.shape[0]
        for name, tensor in tuned.tensors.items()
    )


def _main_dtype(plan: TransferPlan) -> str:
    floats = [tensor for shard in plan.shards for tensor in shard.tensors if tensor.is_float]
    sizes: Counter[str] = Counter()
    for tensor in floats:
        sizes[tensor.dtype] += tensor.elements
    return sizes.most_common(1)[0][0]


def _index(plan: TransferPlan) -> dict[str, Any]:
    tensors = [(tensor, shard.file) for shard in plan.shards for tensor in shard.tensors]
    total = sum(tensor.elements * DTYPE_BYTES[tensor.dtype] for tensor, _ in tensors)
    weight_map = {tensor.name: file for tensor, file in tensors}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
