"""The cause behind a damaged checkpoint, looked for before anything generic is said of it."""

import json
import re
from collections.abc import Iterable

from components.checkpoints.files import PICKLE_SUFFIXES, SourceFile
from components.checkpoints.header import Header
from components.checkpoints.source import Source
from components.errors import BadCheckpoint

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the small file begins that git keeps in place of a large one (git-lfs, docs/spec.md)."""
LARGEST_POINTER = 1024

RECOMPUTED = re.compile(
    r"rotary_emb\.(inv_freq|original_inv_freq|cos_cached|sin_cached)$|(attn|attention)\.(masked_bias|bias)$"
    r"|(^|\.)position_ids$"
)
"""Buffers that loaders compute anew: rotary frequencies, the causal mask of GPT-2, GPT-J and GPT-NeoX, positions."""
SKIPPED = re.compile(r"(^|\.)(mtp|nextn)(\.|$)")
"""Heads for several tokens at once, which a causal language model is loaded without."""


def loaders_do_without(name: str) -> bool:
    """Whether loaders take a checkpoint with a tensor of this name for the same model as one without."""
    return bool(RECOMPUTED.search(name) or SKIPPED.search(name))


def refuse_pointers(source: Source, files: Iterable[SourceFile]) -> None:
    """Refuse a checkpoint of which git-lfs left pointers in place of files.

    Raises:
        BadCheckpoint: it has some; or files that are links to nothing, or empty.
    """
    for file in files:
        if file.size <= LARGEST_POINTER and not file.path.endswith((".md", ".txt")):
            refuse_pointer(source.reference, file.path, source.read(file.path, 0, min(file.size, len(LFS_POINTER))))


def refuse_pointer(reference: str, path: str, content: bytes) -> None:
    """Refuse the content of a file that is a pointer of git-lfs.

    Raises:
        BadCheckpoint: it is.
    """
    if content.startswith(LFS_POINTER):
        raise BadCheckpoint(
            f"{path} of {reference} is a Git LFS pointer: the repository was cloned without its large files",
            hint="run git lfs install and git lfs pull in it, or get the file with hf download",
        )


def check_sidecar(reference: str, path: str, content: bytes) -> None:
    """Look at a file beside the weights before it is carried into another checkpoint.

    Raises:
        BadCheckpoint: it is empty, a pointer of git-lfs, or broken JSON.
    """
    refuse_pointer(reference, path, content)
    if not content and not path.endswith(".txt"):
        raise BadCheckpoint(f"{path} of {reference} is empty", hint="get the file again from its source, or remove it")
    if path.endswith(".json"):
        try:
            json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BadCheckpoint(
                f"{path} of {reference} is not JSON ({error})", hint="get the file again from its source, or remove it"
            ) from None


def missing_shards(source: Source, index: str, shards: list[str], files: dict[str, SourceFile]) -> BadCheckpoint:
    """Say why shards that an index names are not there."""
    missing = [path for path in shards if path not in files]
    pickles = [path for path in missing if path.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return BadCheckpoint(
            f"{source.reference} has its weights as pickles: {index} names {pickles[0]}, and pickles can run code when "
            "they are read and are never opened here",
            hint="convert it on a machine you can lose, with transformers' save_pretrained(safe_serialization=True)",
        )
    others = sorted(path for path in files if path.endswith(".safetensors") and path not in shards)
    if others:
        return BadCheckpoint(
            f"{source.reference} is damaged: {index} names {missing[0]}, but there are others, such as {others[0]}",
            hint="get the index that belongs to these shards, or save the model anew",
        )
    return BadCheckpoint(
        f"{source.reference} is damaged: {len(missing)} of {len(shards)} shards are missing: {', '.join(missing[:5])}",
        hint="get the checkpoint again; the download was likely cut short",
    )


def refuse_placeholders(source: Source, headers: dict[str, Header]) -> None:
    """Refuse weights that were saved while ZeRO-3 had them on other devices.

    Raises:
        BadCheckpoint: they were.
    """
    tensors = [entry for header in headers.values() for entry in header.tensors]
    empty = [entry.name for entry in tensors if entry.shape == (0,)]
    if empty and len(empty) > len(tensors) / 4:
        raise BadCheckpoint(
            f"{len(empty)} of {len(tensors)} tensors of {source.reference} have the shape [0], such as {empty[0]}: "
            "they are placeholders of DeepSpeed ZeRO-3",
            hint="save the model with its weights gathered: stage3_gather_16bit_weights_on_model_save, or "
            "zero_to_fp32.py in the training's folder",
        )
