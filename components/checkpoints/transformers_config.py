"""The JSON files of transformers beside the weights, and what versions 4 and 5 of it spell differently."""

from collections.abc import Mapping
from typing import Any

TOKENIZER_CONFIG = "tokenizer_config.json"


def dtype_key(config: Mapping[str, Any]) -> str:
    """The key that a config names its dtype by: transformers 5 writes `dtype`, 4 wrote and reads `torch_dtype`."""
    return "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"


def weight_index(files: Mapping[str, str], total_size: int) -> dict[str, Any]:
    """The document of a `model.safetensors.index.json`.

    Args:
        files: The file of each tensor, by the tensor's name.
        total_size: Bytes of all tensors.
    """
    return {"metadata": {"total_size": total_size}, "weight_map": dict(sorted(files.items()))}


def rope_scaling(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the JSON says
    """How rotary embeddings are stretched, None where they are not, as version 4 says it.

    Version 5 keeps it in `rope_parameters`, together with `rope_theta` and `partial_rotary_factor`.
    """
    rotary = config.get("rope_parameters")
    if not isinstance(rotary, dict):
        return config.get("rope_scaling")
    scaling = {key: value for key, value in rotary.items() if key not in ("rope_theta", "partial_rotary_factor")}
    return None if scaling.get("rope_type", "default") == "default" else scaling
