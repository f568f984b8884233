"""The tensors of three models brought under one set of names, whoever saved them.

    names as stored        model.language_model.layers.0.mlp.up_proj.weight
      → bare names         layers.0.mlp.up_proj.weight                        where the models' own names differ
      → experts apart      layers.0.mlp.experts.3.up_proj                     where only some store them fused

A bare name has no containers in front (`model.`, `transformer.`, `language_model.`): transformers finds a model's
tensors with them and without. Experts that one model stores one a tensor and another in one tensor of three dimensions
are cut out of it, as transformers 5 joins them (`conversion_mapping.py`: Mixtral's w1, w3, w2 and everyone else's
gate_proj, up_proj, down_proj become gate_up_proj and down_proj). Nothing is moved: a cut is an offset into a file.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.checkpoints import RECOMPUTED, Embeddings, Layout, Tensor, language_values, loaders_do_without
from components.errors import Incompatible
from components.transfer.shards import TARGET_BASE, Slice

CONTAINERS = ("model", "transformer", "language_model", "text_model", "gpt_neox", "backbone", "llm")
"""What transformers' versions and classes put in front of a tensor's name, or leave out."""
WRAPPERS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "DeepSpeed",
    "module": "DistributedDataParallel or DeepSpeed",
}
"""Prefixes under which no loader finds a model, and what leaves them there."""
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_EXPERT = re.compile(
    r"^(?P<where>.*?)(?:mlp|block_sparse_moe)\.experts\.(?P<number>\d+)\.(?P<which>gate_proj|up_proj|down_proj|w1|w2|w3)"
    r"\.weight$"
)
_FUSED = re.compile(r"^(?P<where>.*?)(?:mlp|block_sparse_moe)\.experts\.(?P<which>gate_up_proj|down_proj)$")
_ROUTER = re.compile(r"^(?P<where>.*?)(?:mlp|block_sparse_moe)\.gate\.weight$")
_WHICH = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


@dataclass(frozen=True, kw_only=True)
class Atom:
    """A tensor of one checkpoint, or the part of one that is a single expert's matrix, under the common name."""

    name: str
    slice: Slice
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """As safetensors spells it."""
        return self.slice.tensor.entry.dtype

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


Atoms = dict[str, tuple[Atom, ...]]
"""By the stored name of a tensor, what it is made of, in order."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Three models under common names."""

    result: Atoms
    """The target's tensors."""
    models: dict[str, dict[str, Atom]]
    """By role and common name."""
    silent: frozenset[str]
    """Common names that are not in all three models, and that loaders do without."""
    unmatched: dict[str, tuple[str, ...]]
    """Other common names that are not in all three, and the roles that have them."""
    notes: tuple[str, ...]


def match_tensors(layouts: dict[str, Layout], embeddings: dict[str, Embeddings]) -> Matched:
    """Bring the three models' tensors under common names; their output heads are left out.

    Args:
        layouts: by role.
        embeddings: what each model's embeddings and head are stored as, by role.

    Raises:
        Incompatible: a model's names have a prefix under which no loader finds them.
    """
    for role, layout in layouts.items():
        refuse_wrapped(role, layout)
    inputs = embeddings[TARGET_BASE].inputs
    best: Matched | None = None
    for spell in (_as_stored, _bare, _apart):
        spelled = {role: _spelled(layout, embeddings[role], inputs, spell) for role, layout in layouts.items()}
        if not all(_is_clear(atoms) for atoms in spelled.values()):
            continue
        found = _compare(layouts, spelled)
        if best is None or len(found.unmatched) < len(best.unmatched):
            best = found
        if not found.unmatched:
            break
    if best is None:
        raise AssertionError("a checkpoint's own names are clear")
    return best


def refuse_wrapped(role: str, layout: Layout) -> None:
    """Refuse a model whose tensors have the prefix of a wrapper around it, or that is an adapter beside its base.

    Raises:
        Incompatible: it has.
    """
    for wrapper, program in WRAPPERS.items():
        wrapped = [name for name in layout.tensors if wrapper in name.split(".")]
        if len(wrapped) > len(layout.tensors) / 2:
            raise Incompatible(
                f"the tensors of the {role} {layout.source.reference} have the prefix {wrapper}. of {program}, under "
                f"which no loader finds them: {wrapped[0]}",
                hint="save the model inside the wrapper again, with the save_pretrained of transformers, or take the "
                "prefix off the names",
            )
    adapters = [name for name in layout.tensors if re.search(r"\.(lora_[AB]|base_layer)\.", name)]
    if adapters:
        raise Incompatible(
            f"the {role} {layout.source.reference} has an adapter beside its weights, not merged: {adapters[0]}",
            hint="merge it into its base first, for example with peft's merge_and_unload",
        )


def _compare(layouts: dict[str, Layout], spelled: dict[str, Atoms]) -> Matched:
    models = {
        role: {atom.name: atom for of_tensor in atoms.values() for atom in of_tensor} for role, atoms in spelled.items()
    }
    everywhere = set.intersection(*(set(model) for model in models.values()))
    partly = set().union(*models.values()) - everywhere
    silent = frozenset(name for name in partly if _has_no_say(name, layouts, models))
    return Matched(
        result=spelled[TARGET_BASE],
        models=models,
        silent=silent,
        unmatched={
            name: tuple(role for role, model in models.items() if name in model) for name in sorted(partly - silent)
        },
        notes=(*_renamed(layouts, models, everywhere), *_left_out(models, silent)),
    )


def _has_no_say(name: str, layouts: dict[str, Layout], models: dict[str, dict[str, Atom]]) -> bool:
    atoms = [model[name] for model in models.values() if name in model]
    if RECOMPUTED.search(name):
        # GPT-2's mask is [1, 1, n, n]; the bias of a projection has one dimension, and a say.
        return not name.endswith(".bias") or all(len(atom.shape) == 4 for atom in atoms)
    layer = _LAYER.search(name)
    said = [
        language_values(layout.config).get(key)
        for layout in layouts.values()
        for key in ("num_hidden_layers", "n_layer", "num_layers")
    ]
    layers = [count for count in said if isinstance(count, int)]
    beyond = layer is not None and "vision" not in name and bool(layers) and int(layer[1]) >= max(layers)
    return loaders_do_without(name) or beyond


def _renamed(layouts: dict[str, Layout], models: dict[str, dict[str, Atom]], everywhere: set[str]) -> Iterator[str]:
    """Say which model has other names than the target."""
    for role in layouts:
        pairs = [
            (models[role][name].slice.tensor.entry.name, models[TARGET_BASE][name].slice.tensor.entry.name)
            for name in sorted(everywhere)
        ]
        other = [(theirs, ours) for theirs, ours in pairs if theirs != ours]
        if other:
            yield (
                f"{len(other)} tensors of the {role} have other names than the target's, such as {other[0][0]} for "
                f"{other[0][1]}; the result has the target's"
            )


def _left_out(models: dict[str, dict[str, Atom]], silent: frozenset[str]) -> Iterator[str]:
    if silent:
        having = ", ".join(role for role, model in models.items() if silent & model.keys())
        kept = len(silent & models[TARGET_BASE].keys())
        yield (
            f"{len(silent)} tensors that loaders do without are not in all three models, only in: {having} (such as "
            f"{min(silent)}); the {kept} of the target are kept as they are"
        )


def _spelled(
    layout: Layout, found: Embeddings, common: Tensor | None, spell: Callable[[Tensor], tuple[Atom, ...]]
) -> Atoms:
    """Name a model's tensors; the embeddings of all three as the target stores them."""
    spelled = {name: spell(tensor) for name, tensor in layout.tensors.items() if tensor is not found.head}
    if found.inputs is not None and common is not None:
        spelled[found.inputs.entry.name] = (_complete(common.entry.name, found.inputs),)
    return spelled


def _is_clear(atoms: Atoms) -> bool:
    """Whether no two tensors of one model got one name: else containers tell them apart."""
    names = [atom.name for of_tensor in atoms.values() for atom in of_tensor]
    return len(set(names)) == len(names)


def _as_stored(tensor: Tensor) -> tuple[Atom, ...]:
    return (_complete(tensor.entry.name, tensor),)


def _bare(tensor: Tensor) -> tuple[Atom, ...]:
    return (_complete(bare_name(tensor.entry.name), tensor),)


def _apart(tensor: Tensor) -> tuple[Atom, ...]:
    """Cut fused experts; give every expert's matrix, and what chooses among them, one name."""
    name, shape = bare_name(tensor.entry.name), tensor.entry.shape
    if expert := _EXPERT.match(name):
        which = _WHICH.get(expert["which"], expert["which"])
        return (_complete(f"{expert['where']}experts.{expert['number']}.{which}", tensor),)
    if router := _ROUTER.match(name):
        return (_complete(f"{router['where']}experts.gate", tensor),)
    fused = _FUSED.match(name)
    if fused is None or len(shape) != 3:
        return (_complete(name, tensor),)
    kinds = ("gate_proj", "up_proj") if fused["which"] == "gate_up_proj" else ("down_proj",)
    matrix = (shape[1] // len(kinds), shape[2])
    names = [f"{fused['where']}experts.{number}.{kind}" for number in range(shape[0]) for kind in kinds]
    return tuple(
        Atom(name=part, slice=Slice(tensor=tensor, start=position * math.prod(matrix)), shape=matrix)
        for position, part in enumerate(names)
    )


def bare_name(name: str) -> str:
    """A tensor's name without the containers in front."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in CONTAINERS:
        parts = parts[1:]
    return ".".join(parts)


def _complete(name: str, tensor: Tensor) -> Atom:
    return Atom(name=name, slice=Slice(tensor=tensor), shape=tensor.entry.shape)
