"""Trained weights in the form of the base's files: the same files, tensor names and shapes, and its dtypes or one."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.checkpoints import DTYPE_BYTES, INDEX, Layout, dtype_key, weight_index
from components.errors import BadCheckpoint, OutputConflict, ProgramFailed
from components.system import discard, disk_errors, exclusive_lock, publish
from components.transfer import TORCH_NAMES

if TYPE_CHECKING:
    import torch

NOT_COPIED = (".md", ".safetensors")
"""The base's model card would describe another model; the weights are written anew."""


def check_vacant(output: Path) -> None:
    """Refuse an output that holds something already.

    Raises:
        OutputConflict: `output` is a file, or a folder with something in it.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputConflict(f"{output} holds something already", hint="remove it, or choose another output")


def write_like_base(
    base: Layout,
    folder: Path,
    state: "dict[str, torch.Tensor]",
    output: Path,
    *,
    dtype: str | None = None,
    instead: Mapping[str, bytes] | None = None,
) -> None:
    """Write a checkpoint that differs from `base` in its tensors' values only, or in their dtype too, or write nothing.

    Args:
        base: read from `folder`.
        folder: has the base's files.
        state: trained tensors by the names in the model's state dict, which may hold a tied tensor under two names.
        output: made; must not hold anything.
        dtype: `BF16`, `F16` or `F32`, of every tensor written, and named in the config; the base's own by default.
        instead: contents of files that are to differ from the base's, or that it lacks.

    Raises:
        BadCheckpoint: the model's tensors are not those that the base stores.
        ProgramFailed: a trained value is NaN or infinite, or too large for the dtype.
    """
    _check_names(base, state)
    staging = output.with_name(f".{output.name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(output, wait=False), disk_errors(output):
        check_vacant(output)
        discard(staging)
        staging.mkdir()
        _write_weights(base, state, staging, dtype)
        for file in base.files:
            if not file.path.endswith(NOT_COPIED):
                shutil.copyfile(folder / file.path, staging / file.path)
        for path, content in (_dtype_named(base, dtype) | dict(instead or {})).items():
            (staging / path).write_bytes(content)
        publish(staging, output)


def _write_weights(base: Layout, state: "dict[str, torch.Tensor]", staging: Path, dtype: str | None) -> None:
    import torch
    from safetensors.torch import save_file

    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    for path, header in base.headers.items():
        tensors = {}
        for entry in header.tensors:
            written = dtype or entry.dtype
            tensor = state[entry.name].detach().to(device="cpu", dtype=dtypes[written])
            if not torch.isfinite(tensor).all():
                raise ProgramFailed(
                    f"after training, {entry.name} holds NaN or infinite values in {written}",
                    hint="lower the learning rate in the recipe, or train in float32 with one for trl",
                )
            # A copy, because safetensors refuses tensors that share memory, as tied ones do.
            tensors[entry.name] = tensor.clone(memory_format=torch.contiguous_format)
        save_file(tensors, staging / path, metadata={"format": "pt"})


def _dtype_named(base: Layout, dtype: str | None) -> dict[str, bytes]:
    """Contents of the base's files that name its dtype, where the result is to have another."""
    if dtype is None or set(base.dtypes) == {dtype}:
        return {}
    files = {"config.json": _json(base.config | {dtype_key(base.config): TORCH_NAMES[dtype]})}
    if base.has(INDEX):
        shards = {name: tensor.file for name, tensor in base.tensors.items()}
        files[INDEX] = _json(weight_index(shards, base.parameters * DTYPE_BYTES[dtype]))
    return files


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _check_names(base: Layout, state: "dict[str, torch.Tensor]") -> None:
    for name, tensor in base.tensors.items():
        if name not in state:
            raise _differs(base, f"the model has no tensor {name!r}, which the base stores")
        if tuple(state[name].shape) != tensor.entry.shape:
            raise _differs(
                base,
                f"{name!r} has the shape {list(state[name].shape)} in the model and {list(tensor.entry.shape)} "
                "in the base",
            )
        if tensor.entry.dtype not in ("F32", "F16", "BF16", "F64"):
            raise _differs(base, f"{name!r} is stored as {tensor.entry.dtype}, which is not trained here")
    stored = {state[name].data_ptr() for name in base.tensors}
    for name, trained in state.items():
        if name not in base.tensors and trained.data_ptr() not in stored:
            raise _differs(base, f"the base does not store the model's tensor {name!r}")


def _differs(base: Layout, problem: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{base.source.reference} cannot be fine-tuned as it is stored: {problem}",
        hint="load it with transformers and save_pretrained it, then use that folder as the base",
    )
