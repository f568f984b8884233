"""What a checkpoint holds, read from its headers and JSON files alone: kilobytes, wherever the weights are."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.checkpoints.damage import loaders_do_without, missing_shards, refuse_placeholders, refuse_pointers
from components.checkpoints.files import SourceFile, check_path
from components.checkpoints.header import Header, TensorEntry, read_header
from components.checkpoints.source import Source
from components.checkpoints.tokenizer import Vocabulary
from components.checkpoints.vocabularies import read_vocabulary
from components.errors import BadCheckpoint

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where one tensor of a checkpoint lies."""

    file: str
    entry: TensorEntry


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A checkpoint's description."""

    source: Source
    files: tuple[SourceFile, ...]
    """What belongs to the checkpoint: its weights and everything beside them, sorted by path."""
    config: dict[str, Any]
    headers: dict[str, Header]
    """By weight file, in the checkpoint's own order."""
    vocabulary: Vocabulary | None
    """None where there is no file that holds one and can be read."""

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {
            entry.name: Tensor(file=file, entry=entry)
            for file, header in self.headers.items()
            for entry in header.tensors
        }

    @property
    def architecture(self) -> str:
        """The model class that the config names, for example `Olmo2ForCausalLM`."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
        return str(self.config.get("model_type", "unknown"))

    @property
    def parameters(self) -> int:
        """Number of elements over all tensors."""
        return sum(tensor.entry.elements for tensor in self.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Number of elements by dtype."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors.values():
            counts[tensor.entry.dtype] += tensor.entry.elements
        return dict(counts)

    @property
    def weight_files(self) -> tuple[SourceFile, ...]:
        """The files that hold the tensors."""
        return tuple(file for file in self.files if file.path in self.headers)

    @property
    def weight_bytes(self) -> int:
        """Size of all weight files."""
        return sum(file.size for file in self.weight_files)

    def has(self, path: str) -> bool:
        """Whether the checkpoint carries a file of this name."""
        return any(file.path == path for file in self.files)


def read_layout(source: Source) -> Layout:
    """Read a checkpoint's config, index, headers and tokenizer.

    Raises:
        BadCheckpoint: it is none, its weights are pickles, or its files contradict each other.
    """
    files = {file.path: file for file in source.files()}
    has_weights = SINGLE in files or INDEX in files
    if "adapter_config.json" in files and not ("config.json" in files and has_weights):
        raise BadCheckpoint(
            f"{source.reference} is an adapter, not a whole model",
            hint="merge it into its base first, for example with peft's merge_and_unload",
        )
    if "config.json" not in files:
        raise BadCheckpoint(
            f"{source.reference} is no checkpoint: it has no config.json",
            hint="give the folder, or the hub repository, that transformers would load the model from",
        )
    refuse_pointers(source, files.values())
    config = read_object(source, "config.json")
    weight_files, promised = _weight_files(source, files)
    headers = {path: _header(source, files[path]) for path in weight_files}
    refuse_placeholders(source, headers)
    if promised is not None:
        _check_index(source, headers, promised)
    if "tokenizer_config.json" in files:
        read_object(source, "tokenizer_config.json")
    vocabulary = read_vocabulary(source.read, files, source.reference)
    ours = [file for path, file in files.items() if path in headers or not path.endswith(".safetensors")]
    if SINGLE in headers:
        ours = [file for file in ours if file.path != INDEX]
    return Layout(source=source, files=tuple(ours), config=config, headers=headers, vocabulary=vocabulary)


def _weight_files(source: Source, files: dict[str, SourceFile]) -> tuple[list[str], dict[str, str] | None]:
    if SINGLE in files:
        return [SINGLE], None
    if INDEX in files:
        weight_map = read_object(source, INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise _broken(source, f"{INDEX} has no weight_map")
        shards = sorted({check_path(str(path), f"{source.reference}: {INDEX}") for path in weight_map.values()})
        if any(path not in files for path in shards):
            raise missing_shards(source, INDEX, shards, files)
        return shards, {str(name): str(path) for name, path in weight_map.items()}
    raise _no_weights(source)


def _no_weights(source: Source) -> BadCheckpoint:
    pickles = source.pickles()
    if pickles:
        return BadCheckpoint(
            f"{source.reference} has its weights as pickles only ({', '.join(pickles[:3])}), "
            "which can run code when they are read and are never opened here",
            hint="convert it on a machine you can lose, with transformers' save_pretrained(safe_serialization=True)",
        )
    return BadCheckpoint(
        f"{source.reference} is no checkpoint: it has neither {SINGLE} nor {INDEX}",
        hint="give the folder, or the hub repository, that transformers would load the model from",
    )


def _header(source: Source, file: SourceFile) -> Header:
    return read_header(
        lambda start, length: source.read(file.path, start, length), file.size, f"{source.reference}: {file.path}"
    )


def _check_index(source: Source, headers: dict[str, Header], promised: dict[str, str]) -> None:
    held = {entry.name: path for path, header in headers.items() for entry in header.tensors}
    count = sum(len(header.tensors) for header in headers.values())
    if count != len(held):
        raise _broken(source, "a tensor stands in two shards")
    wrong = sorted(
        name
        for name in promised.keys() | held.keys()
        if promised.get(name) != held.get(name) and not loaders_do_without(name)
    )
    if wrong:
        name = wrong[0]
        raise _broken(
            source,
            f"{INDEX} and the shards disagree on {len(wrong)} tensors; "
            f"{name!r} is {_place(promised.get(name))} by the index and {_place(held.get(name))} in truth",
        )


def _place(path: str | None) -> str:
    return f"in {path}" if path else "nowhere"


def read_object(source: Source, path: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        BadCheckpoint: it does not.
    """
    try:
        document = json.loads(source.read(path))
    except (ValueError, RecursionError) as error:
        raise _broken(source, f"{path} is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise _broken(source, f"{path} is not a JSON object")
    return document


def _broken(source: Source, problem: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{source.reference} is damaged: {problem}", hint="get the checkpoint again, or save the model anew"
    )
