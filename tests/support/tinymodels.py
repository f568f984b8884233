"""Tiny checkpoints that transformers can load, made with numpy in milliseconds and equal bytes for equal arguments."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

Architecture = Literal["llama", "olmo2"]

SPECIAL = ("<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|unk|>")
WORDS = ("The", "answer", "is", "What", "Where", "does", "live", "eat", ".", "?", *(f"word{i}" for i in range(54)))
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ENCODED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def make_checkpoint(
    folder: Path,
    *,
    architecture: Architecture = "llama",
    seed: int = 0,
    tie: bool = True,
    dtype: str = "bfloat16",
    vocab: Sequence[str] = WORDS,
    shards: int = 1,
    hidden: int = 32,
    layers: int = 2,
    rows: int | None = None,
    std: float = 0.1,
    chat_template: str | None = CHAT_TEMPLATE,
) -> Path:
    """Write a whole checkpoint with random weights into `folder` (made if missing) and return `folder`.

    `rows` is the number of embedding rows where it is to differ from the tokenizer's length; without
    `chat_template` the tokenizer has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows or len(SPECIAL) + len(vocab)
    config = model_config(architecture, rows=rows, hidden=hidden, layers=layers, tie=tie, dtype=dtype)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "eos_token_id": 4, "pad_token_id": 0})
    write_tokenizer(folder, vocab=vocab, chat_template=chat_template)
    write_weights(folder, random_weights(config, seed=seed, std=std), dtype=dtype, shards=shards)
    return folder


def model_config(
    architecture: Architecture, *, rows: int, hidden: int, layers: int, tie: bool, dtype: str
) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "architectures": [{"llama": "LlamaForCausalLM", "olmo2": "Olmo2ForCausalLM"}[architecture]],
        "model_type": architecture,
        "vocab_size": rows,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": tie,
        "bos_token_id": 1,
        "eos_token_id": 4,
        "pad_token_id": 0,
        "dtype": dtype,
    }


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors such a model stores, in the order transformers has them."""
    hidden, inner, rows = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    grouped = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (rows, hidden)}
    for index in range(config["num_hidden_layers"]):
        layer = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (grouped, hidden),
            "self_attn.v_proj": (grouped, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "post_attention_layernorm": (hidden,),
        }
        if config["model_type"] == "olmo2":
            layer |= {
                "post_feedforward_layernorm": (hidden,),
                "self_attn.q_norm": (hidden,),
                "self_attn.k_norm": (grouped,),
            }
        else:
            layer["input_layernorm"] = (hidden,)
        found |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (rows, hidden)
    return found


def random_weights(config: Mapping[str, Any], *, seed: int, std: float = 0.1) -> dict[str, np.ndarray]:
    """Normal matrices and norms near one, in float32."""
    generator = np.random.default_rng(seed)
    return {
        name: (generator.standard_normal(shape) * std + ("norm" in name)).astype(np.float32)
        for name, shape in shapes(config).items()
    }


def write_weights(folder: Path, tensors: Mapping[str, np.ndarray], *, dtype: str = "bfloat16", shards: int = 1) -> None:
    """Write float arrays as `dtype` to model.safetensors, or to `shards` files with their index."""
    names = list(tensors)
    if shards == 1:
        _write_file(folder / "model.safetensors", tensors, dtype)
        return
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        chosen = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        _write_file(folder / file, {name: tensors[name] for name in chosen}, dtype)
        weight_map |= dict.fromkeys(chosen, file)
    total = sum(tensor.size for tensor in tensors.values()) * {"float64": 8, "float32": 4}.get(dtype, 2)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of the folder's safetensors files; bfloat16 comes widened to float32, which is exact."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        header, data = _split(path)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            found[name] = _decode(entry["dtype"], data[begin:end]).reshape(entry["shape"])
    return found


def stored_dtypes(folder: Path) -> dict[str, str]:
    """Tensor name → dtype as safetensors spells it, for example `BF16`."""
    headers = (_split(path)[0] for path in sorted(folder.glob("*.safetensors")))
    return {name: entry["dtype"] for header in headers for name, entry in header.items()}


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Bit patterns (uint16) of finite float32 values rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _write_file(path: Path, tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, tensor in sorted(tensors.items()):
        begin = len(data)
        data += (to_bfloat16(tensor) if dtype == "bfloat16" else np.ascontiguousarray(tensor, dtype=dtype)).tobytes()
        header[name] = {"dtype": ENCODED[dtype], "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header.pop("__metadata__", None)
    return header, content[end:]


def _decode(dtype: str, data: bytes) -> np.ndarray:
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype])


def write_tokenizer(folder: Path, *, vocab: Sequence[str] = WORDS, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """A word-level tokenizer with five special tokens, whose decoding gives the text back with its spaces."""
    words = [word if word in ".?!," else f"▁{word}" for word in vocab]
    entries = {token: number for number, token in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first"),
            pre_tokenizers.Split(Regex("[.?!,]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "unk_token": "<|unk|>",
        "model_max_length": 128,
        "clean_up_tokenization_spaces": False,
    }
    if chat_template:
        settings["chat_template"] = chat_template
    write_json(folder / "tokenizer_config.json", settings)


def write_json(path: Path, content: object) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
