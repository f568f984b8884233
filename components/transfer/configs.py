"""What the configs of three models must agree on, and what a person is told of where they may differ."""

from collections.abc import Iterator
from typing import Any

from components.checkpoints import Layout, language_values
from components.errors import Incompatible
from components.transfer.shards import SOURCE_BASE, TARGET_BASE

SAME = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "num_experts_per_tok",
)
"""What changes a model's function without showing in its tensors' shapes, and cannot be moved across."""
ACTIVATIONS = ({"silu", "swish"}, {"gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_tanh", "gelu_accurate"})
"""Names of one function each (transformers, activations.py), up to rounding."""
TOLD = ("rms_norm_eps", "max_position_embeddings", "sliding_window")
"""What may change between releases, as from Llama 3.0 to 3.1; the target's values stand in the result."""
ROPE_THETA = 10000.0
"""The value of most classes of transformers for a config that names none."""
QUANTIZED = {
    "qweight": "GPTQ or AWQ",
    "qzeros": "GPTQ or AWQ",
    "absmax": "bitsandbytes",
    "quant_map": "bitsandbytes",
    "SCB": "bitsandbytes, 8 bits",
    "weight_scale_inv": "FP8",
    "weight_scale": "FP8 or another of compressed-tensors",
    "weight_packed": "compressed-tensors",
    "blocks": "MXFP4",
    "scales": "MXFP4",
}
"""What quantized weights have beside them, by the last word of the tensor's name."""


def refuse_quantized(role: str, layout: Layout) -> None:
    """Refuse quantized weights, whose integers cannot be added up, and plain ones whose config calls them quantized.

    Raises:
        Incompatible: there are some.
    """
    for name, tensor in layout.tensors.items():
        last = name.replace("_", ".").rsplit(".", 1)[-1] if name.endswith(("_blocks", "_scales")) else name
        method = QUANTIZED.get(last.rsplit(".", 1)[-1]) or QUANTIZED.get(name.rsplit(".", 1)[-1])
        if tensor.entry.dtype.startswith("F8_"):
            method = "FP8"
        if method:
            raise Incompatible(
                f"the {role} {layout.source.reference} is quantized ({method}): {name} is {tensor.entry.dtype}",
                hint="give the release in bfloat16 or float32, or save a dequantized copy",
            )
    config = layout.config.get("quantization_config")
    if config:
        method = config.get("quant_method", "quantized") if isinstance(config, dict) else "quantized"
        raise Incompatible(
            f"config.json of the {role} {layout.source.reference} has a quantization_config ({method}) over weights "
            "that are plain floats",
            hint="remove the key quantization_config from its config.json: for it loaders quantize the weights, or "
            "refuse them",
        )


def config_problems(layouts: dict[str, Layout]) -> Iterator[str]:
    """Where the configs name models of different functions."""
    reference = layouts[SOURCE_BASE]
    expected = language_values(reference.config)
    for role, layout in layouts.items():
        values = language_values(layout.config)
        same_type = expected.get("model_type", 0) == values.get("model_type", 1)
        if not same_type and _class(layout) and _class(reference) and _class(layout) != _class(reference):
            yield f"architecture: {reference.architecture} (source base), {layout.architecture} ({role})"
        for key in SAME:
            ours, theirs = expected.get(key), values.get(key)
            if (
                ours is not None
                and theirs is not None
                and ours != theirs
                and not _same_activation(expected, ours, theirs)
            ):
                yield f"config {key}: {ours!r} (source base), {theirs!r} ({role})"


def config_notes(layouts: dict[str, Layout]) -> Iterator[str]:
    """Where the configs differ in what may differ."""
    values = {role: language_values(layout.config) for role, layout in layouts.items()}
    classes = {role: _class(layout) for role, layout in layouts.items()}
    if len(set(filter(None, classes.values()))) > 1:
        yield _told("architectures", classes, "their model_type is the same, and the target's class is kept")
    for key in SAME:
        of_key = {role: value.get(key) for role, value in values.items()}
        if len({str(value) for value in of_key.values() if value is not None}) > 1:
            yield _told(f"config {key}", of_key, "names of one function; the target's is kept")
    for key in TOLD:
        of_key = {role: value.get(key) for role, value in values.items()}
        if any(value != of_key[TARGET_BASE] for value in of_key.values()):
            yield _told(f"config {key}", of_key, "the target's value is kept")
    ropes = {role: rotary(value) for role, value in values.items()}
    for key, position in (("rope_theta", 0), ("rope_scaling", 1)):
        of_key = {role: rope[position] for role, rope in ropes.items()}
        if any(value != of_key[TARGET_BASE] for value in of_key.values()):
            yield _told(f"config {key}", of_key, "the target's value is kept")


def rotary(values: dict[str, Any]) -> tuple[Any, Any]:
    """θ and scaling of a language model's rotary embeddings, however its config spells them.

    transformers 5 keeps both in `rope_parameters`, for models with several kinds of layer one map a kind; 4 kept them
    apart, and called the kind of scaling `type` before it was `rope_type`.
    """
    parameters = values.get("rope_parameters")
    if isinstance(parameters, dict) and any(isinstance(part, dict) for part in parameters.values()):
        kinds = {kind: rotary({"rope_parameters": part}) for kind, part in parameters.items() if isinstance(part, dict)}
        return {kind: theta for kind, (theta, _) in kinds.items()}, {
            kind: scaling for kind, (_, scaling) in kinds.items()
        }
    if isinstance(parameters, dict):
        return parameters.get("rope_theta", values.get("rope_theta", ROPE_THETA)), _scaling(parameters)
    scaling = values.get("rope_scaling")
    theta = values.get("rope_theta", ROPE_THETA)
    if values.get("rope_local_base_freq") is not None:  # Gemma 3 as transformers 4 wrote it
        kinds = {"full_attention": theta, "sliding_attention": values["rope_local_base_freq"]}
        return kinds, {"full_attention": _scaling(scaling or {}), "sliding_attention": None}
    return theta, _scaling(scaling) if isinstance(scaling, dict) else scaling


def _scaling(parameters: dict[str, Any]) -> dict[str, Any] | None:
    kept = {key: value for key, value in parameters.items() if key not in ("rope_theta", "type", "rope_type")}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    return None if kind == "default" else kept | {"rope_type": kind}


def _class(layout: Layout) -> str | None:
    names = layout.config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _same_activation(values: dict[str, Any], one: object, other: object) -> bool:
    # Gemma's classes compute gelu_pytorch_tanh where a config says gelu (transformers, configuration_gemma.py).
    gemma = {"gelu"} if str(values.get("model_type", "")).startswith("gemma") else set()
    return any({one, other} <= names | (gemma if "gelu_new" in names else set()) for names in ACTIVATIONS)


def _told(what: str, values: dict[str, Any], end: str) -> str:
    told = ", ".join(f"{value!r} ({role})" for role, value in values.items())
    return f"{what}: {told}; {end}"
