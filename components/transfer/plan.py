"""Whether a diff vector can be moved between three checkpoints, and exactly how: known from headers alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from components.checkpoints import DTYPE_BYTES, Layout, Tensor, build_header, compare_vocabularies
from components.errors import Incompatible
from components.transfer.dtypes import check_policy, output_dtype
from components.transfer.scale import Scale

FLOAT_DTYPES = ("BF16", "F16", "F32")
INTEGER_DTYPES = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
LM_HEAD = "lm_head.weight"
SAME_CONFIG = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "num_experts_per_tok",
)
"""What changes a model's function without showing in its tensors' shapes, and cannot be moved across."""
TOLD_CONFIG = ("rope_theta", "rope_scaling", "rms_norm_eps", "max_position_embeddings", "sliding_window")
"""What may change between releases, as from Llama 3.0 to 3.1; the target's values stand in the result."""
SHOWN_PROBLEMS = 8
SOURCE_BASE, SOURCE_TUNED, TARGET_BASE = ROLES = ("source base", "source fine-tuned", "target base")
"""The three checkpoints: M_s, FT(M_s) and M_t."""


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """One tensor of the result and the three it is made from."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parents: dict[str, Tensor]
    """By role."""
    scale: float
    """λ of this tensor."""

    @property
    def is_float(self) -> bool:
        """Whether it is computed; integers and booleans are copied from the target."""
        return self.dtype in FLOAT_DTYPES

    @property
    def widest(self) -> int:
        """Bytes an element takes where it takes most, in the result or in one of the parents."""
        return max(DTYPE_BYTES[dtype] for dtype in (self.dtype, *(t.entry.dtype for t in self.parents.values())))

    @property
    def elements(self) -> int:
        """Number of elements of the result."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One weight file of the result: the target's name, tensors in the target's order."""

    file: str
    tensors: tuple[TensorPlan, ...]

    @cached_property
    def header(self) -> bytes:
        """The file's first bytes."""
        return build_header(((plan.name, plan.dtype, plan.shape) for plan in self.tensors), {"format": "pt"})

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return len(self.header) + sum(plan.elements * DTYPE_BYTES[plan.dtype] for plan in self.tensors)

    @property
    def bytes_to_read(self) -> int:
        """What its tensors take in the three models."""
        return sum(parent.entry.length for plan in self.tensors for parent in plan.parents.values())

    def files(self, role: str) -> frozenset[str]:
        """The weight files of the model in this role that its tensors are in."""
        return frozenset(plan.parents[role].file for plan in self.tensors)


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """All that a transfer does, before it does it."""

    source_base: Layout
    source_tuned: Layout
    target_base: Layout
    dtype: str
    shards: tuple[ShardPlan, ...]
    notes: tuple[str, ...]
    """Differences that are allowed and that a person should know."""

    @property
    def layouts(self) -> dict[str, Layout]:
        """The three checkpoints by role."""
        return dict(zip(ROLES, (self.source_base, self.source_tuned, self.target_base), strict=True))

    @property
    def bytes_to_read(self) -> int:
        """Over the three inputs."""
        return self.source_base.weight_bytes + self.source_tuned.weight_bytes + self.target_base.weight_bytes

    @property
    def bytes_to_write(self) -> int:
        """Over the result's weight files."""
        return sum(shard.size for shard in self.shards)


def plan_transfer(
    *, source_base: Layout, source_tuned: Layout, target_base: Layout, scale: Scale, dtype: str
) -> TransferPlan:
    """Prove the three checkpoints to be of one family and lay out the result.

    Raises:
        BadParameter: `dtype` is no policy, or the rules of `scale` do not fit the tensors' names.
        Incompatible: they are not; every reason is told, up to a readable number.
    """
    check_policy(dtype)
    layouts = dict(zip(ROLES, (source_base, source_tuned, target_base), strict=True))
    refuse_same(source_base.source.reference, source_tuned.source.reference, target_base.source.reference)
    refuse_quantized(layouts)
    problems = [*_config_problems(layouts), *_vocabulary_problems(layouts)]
    if not problems:
        problems = [*_tensor_problems(layouts)]
    if problems:
        raise _incompatible(problems)
    return TransferPlan(
        source_base=source_base,
        source_tuned=source_tuned,
        target_base=target_base,
        dtype=dtype,
        shards=tuple(_shards(layouts, _scales(target_base, scale), dtype)),
        notes=tuple(_notes(layouts)),
    )


def refuse_same(source_base: str, source_tuned: str, target_base: str) -> None:
    """Refuse a target that is one of the sources, named by reference or by digest.

    Raises:
        Incompatible: it is.
    """
    if target_base == source_base:
        raise Incompatible(
            f"the target base is the source base ({target_base})",
            hint="give the base release to move to; the fine-tuned model already is the answer for this one",
        )
    if target_base == source_tuned:
        raise Incompatible(
            f"the target base is the fine-tuned model itself ({target_base})", hint="give the base release to move to"
        )


def refuse_quantized(layouts: dict[str, Layout]) -> None:
    """Refuse quantized weights, whose integers cannot be added up.

    Raises:
        Incompatible: there are some.
    """
    for role, layout in layouts.items():
        if layout.config.get("quantization_config"):
            raise Incompatible(
                f"the {role} {layout.source.reference} is quantized", hint="give the release in bfloat16 or float32"
            )


def _incompatible(problems: list[str]) -> Incompatible:
    shown = "".join(f"\n  - {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = f"\n  - and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return Incompatible(
        f"the three checkpoints are not of one family:{shown}{more}",
        hint="check that the fine-tuned model came from this source base, and that the target is a release of the same",
    )


def _config_problems(layouts: dict[str, Layout]) -> Iterator[str]:
    reference = layouts[SOURCE_BASE]
    for role, layout in layouts.items():
        if _names_class(layout) and _names_class(reference) and layout.architecture != reference.architecture:
            yield f"architecture: {reference.architecture} (source base), {layout.architecture} ({role})"
        for key in SAME_CONFIG:
            ours, theirs = reference.config.get(key), layout.config.get(key)
            if ours is not None and theirs is not None and ours != theirs:
                yield f"config {key}: {ours!r} (source base), {theirs!r} ({role})"
        if is_tied(layout) != is_tied(reference):
            states = {True: "tied", False: "untied"}
            yield f"embeddings: {states[is_tied(reference)]} (source base), {states[is_tied(layout)]} ({role})"


def _names_class(layout: Layout) -> bool:
    return isinstance(layout.config.get("architectures"), list)


def _vocabulary_problems(layouts: dict[str, Layout]) -> Iterator[str]:
    for (role, one), (other_role, other) in combinations(layouts.items(), 2):
        if one.vocabulary is not None and other.vocabulary is not None:
            blocking = compare_vocabularies(one.vocabulary, other.vocabulary).blocking
            if blocking:
                yield f"tokenizers of the {role} and the {other_role}: {blocking}"


def _tensor_problems(layouts: dict[str, Layout]) -> Iterator[str]:
    names = {role: _needed_tensors(layout) for role, layout in layouts.items()}
    everywhere = set.intersection(*names.values())
    for name in sorted(set.union(*names.values()) - everywhere):
        having = ", ".join(role for role in layouts if name in names[role])
        yield f"tensor {name} is only in: {having}"
    stored_head = {LM_HEAD} & set(layouts[TARGET_BASE].tensors)
    for name in sorted(everywhere | stored_head):
        found = {role: _lookup(layout, name) for role, layout in layouts.items()}
        entries = {role: tensor.entry for role, tensor in found.items() if tensor is not None}
        if len(entries) < len(layouts):
            yield f"tensor {name} has nothing to stand for it in: {', '.join(set(layouts) - set(entries))}"
            continue
        yield from _dtype_problems(name, {role: entry.dtype for role, entry in entries.items()})
        yield from _shape_problems(name, {role: entry.shape for role, entry in entries.items()})


def _dtype_problems(name: str, dtypes: dict[str, str]) -> Iterator[str]:
    told = ", ".join(f"{dtype} ({role})" for role, dtype in dtypes.items())
    if any(dtype not in FLOAT_DTYPES + INTEGER_DTYPES for dtype in dtypes.values()):
        yield f"tensor {name} has a dtype that cannot be added exactly: {told}"
    elif any(dtype in INTEGER_DTYPES for dtype in dtypes.values()) and len(set(dtypes.values())) > 1:
        yield f"tensor {name} has integers that differ in dtype: {told}"


def _shape_problems(name: str, shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    tuned = shapes[SOURCE_TUNED]
    for role in (SOURCE_BASE, TARGET_BASE):
        shape = shapes[role]
        grown = grows(name) and len(shape) == len(tuned) > 0 and shape[1:] == tuned[1:] and shape[0] < tuned[0]
        if shape != tuned and not grown:
            yield f"tensor {name}: {list(shape)} ({role}), {list(tuned)} (source fine-tuned)"


def _needed_tensors(layout: Layout) -> set[str]:
    # Loaders of tied models ignore a stored lm_head, so having one or not makes no difference between models.
    return set(layout.tensors) - ({LM_HEAD} if is_tied(layout) else set())


def is_tied(layout: Layout) -> bool:
    """Whether lm_head and the input embeddings are one tensor."""
    tied = layout.config.get("tie_word_embeddings")
    return LM_HEAD not in layout.tensors if tied is None else bool(tied)


def grows(name: str) -> bool:
    """Whether a tensor has a row for each token, so that a fine-tune may have appended some."""
    return "embed_tokens" in name or "lm_head" in name


def _scales(target: Layout, scale: Scale) -> dict[str, float]:
    """λ by tensor. A head that is tied goes with the embeddings, whose second name it is."""
    tied = _embeddings(target) if is_tied(target) else None
    floats = [tensor for tensor in target.tensors.values() if tensor.entry.dtype in FLOAT_DTYPES]
    names = {tensor.entry.name: tensor.entry.name for tensor in floats}
    if tied is not None and LM_HEAD in names:
        names[LM_HEAD] = tied.entry.name
    chosen = scale.by_name(set(names.values()))
    return {name: chosen[ruled] for name, ruled in names.items()}


def _shards(layouts: dict[str, Layout], scales: dict[str, float], dtype: str) -> Iterator[ShardPlan]:
    for file, header in layouts[TARGET_BASE].headers.items():
        plans = (_tensor_plan(entry.name, layouts, scales, dtype) for entry in header.tensors)
        yield ShardPlan(file=file, tensors=tuple(plans))


def _tensor_plan(name: str, layouts: dict[str, Layout], scales: dict[str, float], dtype: str) -> TensorPlan:
    parents = {role: _found(layout, name) for role, layout in layouts.items()}
    tuned, target = parents[SOURCE_TUNED].entry, parents[TARGET_BASE].entry
    is_float = target.dtype in FLOAT_DTYPES
    return TensorPlan(
        name=name,
        dtype=output_dtype(dtype, tuned.dtype, target.dtype) if is_float else target.dtype,
        shape=tuned.shape,
        parents=parents,
        scale=scales.get(name, 1.0),
    )


def _lookup(layout: Layout, name: str) -> Tensor | None:
    """A tensor by name; the input embeddings stand for the head of a tied model that does not store it."""
    if name == LM_HEAD and name not in layout.tensors:
        return _embeddings(layout)
    return layout.tensors.get(name)


def _embeddings(layout: Layout) -> Tensor | None:
    return next((tensor for name, tensor in layout.tensors.items() if name.endswith("embed_tokens.weight")), None)


def _found(layout: Layout, name: str) -> Tensor:
    tensor = _lookup(layout, name)
    if tensor is None:
        raise AssertionError(f"{name} was not checked")
    return tensor


def _notes(layouts: dict[str, Layout]) -> Iterator[str]:
    source, tuned, target = layouts.values()
    if source.source.reference == tuned.source.reference:
        yield "the fine-tuned model is the source base: the diff vector is zero"
    for key in TOLD_CONFIG:
        values = {role: _told_value(layout, key) for role, layout in layouts.items()}
        if any(value != values[TARGET_BASE] for value in values.values()):
            told = ", ".join(f"{value!r} ({role})" for role, value in values.items())
            yield f"config {key}: {told}; the target's value is kept"
    for role, layout in layouts.items():
        if layout.vocabulary is None:
            yield f"the {role} has no tokenizer.json: its vocabulary was not compared"
        elif tuned.vocabulary is not None and role != SOURCE_TUNED:
            note = compare_vocabularies(layout.vocabulary, tuned.vocabulary).note
            if note:
                yield f"{role} → source fine-tuned: {note}"
    for name in filter(grows, tuned.tensors):
        before, after = _found(target, name).entry.shape[:1], tuned.tensors[name].entry.shape[:1]
        if after > before:
            yield f"{name} grows from {before[0]} to {after[0]} rows, the new ones from the fine-tune alone"


def _told_value(layout: Layout, key: str) -> object:
    """A config value; transformers 5 keeps the two about rotary embeddings in one map, 4 kept them apart."""
    rotary = layout.config.get("rope_parameters")
    if not isinstance(rotary, dict):
        return layout.config.get(key)
    if key == "rope_theta":
        return rotary.get(key)
    if key == "rope_scaling":
        scaling = {name: value for name, value in rotary.items() if name != "rope_theta"}
        return None if scaling.get("rope_type", "default") == "default" else scaling
    return layout.config.get(key)
