"""Whether a diff vector can be moved between three checkpoints, and exactly how: known from headers.

Only where a head is stored beside the embeddings that it may be tied to, their bytes are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from components.checkpoints import Embeddings, Layout, compare_vocabularies, declared_tied, find_embeddings
from components.errors import Incompatible
from components.transfer.configs import config_notes, config_problems, refuse_quantized
from components.transfer.dtypes import cast_dtype, check_policy, output_dtype
from components.transfer.matching import Atom, Matched, match_tensors
from components.transfer.rows import has_rows, result_shape, row_parts, rows_note
from components.transfer.scale import Scale
from components.transfer.shards import (
    FLOAT_DTYPES,
    INTEGER_DTYPES,
    ROLES,
    SOURCE_BASE,
    SOURCE_TUNED,
    TARGET_BASE,
    Part,
    ShardPlan,
    Slice,
    TensorPlan,
    TransferPlan,
)
from components.transfer.sidecars import sidecar_notes, sidecar_warnings
from components.transfer.special_tokens import token_notes

SHOWN_PROBLEMS = 8


def plan_transfer(
    *, source_base: Layout, source_tuned: Layout, target_base: Layout, scale: Scale, dtype: str
) -> TransferPlan:
    """Prove that the three checkpoints fit and lay out the result.

    Raises:
        BadParameter: `dtype` is no policy, or the rules of `scale` do not fit the tensors' names.
        Incompatible: they do not fit; every reason is told, up to a readable number.
    """
    check_policy(dtype)
    layouts = dict(zip(ROLES, (source_base, source_tuned, target_base), strict=True))
    refuse_same(source_base.source.reference, source_tuned.source.reference, target_base.source.reference)
    for role, layout in layouts.items():
        refuse_quantized(role, layout)
    embeddings = {role: find_embeddings(layout) for role, layout in layouts.items()}
    matched = match_tensors(layouts, embeddings)
    trio = _Trio(layouts=layouts, embeddings=embeddings, matched=matched)
    problems = [*config_problems(layouts), *trio.vocabulary_problems()]
    if not problems:
        problems = [*trio.tensor_problems()]
    if problems:
        raise _incompatible(problems)
    plan = TransferPlan(
        source_base=source_base,
        source_tuned=source_tuned,
        target_base=target_base,
        shards=tuple(trio.shards(scale, dtype)),
        rows=trio.result_rows,
        target_rows=trio.rows[TARGET_BASE],
        unties=trio.unties,
        notes=tuple(trio.notes()),
    )
    return replace(
        plan,
        notes=(*plan.notes, *token_notes(source_tuned), *sidecar_notes(plan)),
        warnings=tuple(sidecar_warnings(plan)),
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


def _incompatible(problems: list[str]) -> Incompatible:
    shown = "".join(f"\n  - {problem}" for problem in problems[:SHOWN_PROBLEMS])
    more = f"\n  - and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return Incompatible(
        f"the three checkpoints are not of one family:{shown}{more}",
        hint="check that the fine-tuned model came from this source base, and that the target is a release of the same",
    )


@dataclass(frozen=True, kw_only=True)
class _Trio:
    """The three checkpoints, and what was found of them."""

    layouts: dict[str, Layout]
    embeddings: dict[str, Embeddings]
    matched: Matched

    @property
    def rows(self) -> dict[str, int | None]:
        """Of each model's embeddings."""
        return {role: found.rows for role, found in self.embeddings.items()}

    @property
    def result_rows(self) -> int | None:
        """Of the result's embeddings."""
        counts = [self.rows[role] for role in (SOURCE_TUNED, TARGET_BASE)]
        return max(count for count in counts if count is not None) if all(counts) else None

    @property
    def has_head(self) -> bool:
        """Whether one of the three has a head of its own, so that the result has one."""
        return not all(found.is_tied for found in self.embeddings.values())

    @property
    def unties(self) -> bool:
        """Whether the result has a head of its own although the target's config does not say so."""
        return self.has_head and declared_tied(self.layouts[TARGET_BASE]) is not False

    def vocabulary_problems(self) -> Iterator[str]:
        """Rows that are added up although they stand for different text."""
        counts = [count for count in self.rows.values() if count is not None]
        common = min(counts) if len(counts) == len(ROLES) else None
        for (role, one), (other_role, other) in combinations(self.layouts.items(), 2):
            if one.vocabulary is not None and other.vocabulary is not None:
                blocking = compare_vocabularies(one.vocabulary, other.vocabulary, rows=common).blocking
                if blocking:
                    yield f"tokenizers of the {role} and the {other_role}: {blocking}"

    def tensor_problems(self) -> Iterator[str]:
        """Tensors that one model lacks, or has in a form that cannot be added up."""
        yield from _only_in(self.matched.unmatched)
        for role, found in self.embeddings.items():
            if self.has_head and found.head is None and declared_tied(self.layouts[role]) is False:
                yield f"the config of the {role} says that its head is not tied, and no head is stored in it"
        if self.has_head and self._head_name() in self.matched.result:
            yield f"the target stores its embeddings as {self._head_name()}, which is the name of a head in another"
        for name in sorted(self.matched.models[TARGET_BASE]):
            if name not in self.matched.silent and name not in self.matched.unmatched:
                yield from self._problems_of(name, {role: self.matched.models[role][name] for role in ROLES})
        head = self._heads()
        if head is not None:
            yield from self._problems_of(self._head_name(), head)

    def _problems_of(self, name: str, atoms: dict[str, Atom]) -> Iterator[str]:
        dtypes = {role: atom.dtype for role, atom in atoms.items()}
        told = ", ".join(f"{dtype} ({role})" for role, dtype in dtypes.items())
        if any(dtype not in FLOAT_DTYPES + INTEGER_DTYPES for dtype in dtypes.values()):
            yield f"tensor {name} has a dtype that cannot be added exactly: {told}"
        elif any(dtype in INTEGER_DTYPES for dtype in dtypes.values()) and len(set(dtypes.values())) > 1:
            yield f"tensor {name} has integers that differ in dtype: {told}"
        shapes = {role: atom.shape for role, atom in atoms.items()}
        if len(set(shapes.values())) > 1 and not has_rows(shapes, self.rows):
            tuned = shapes.pop(SOURCE_TUNED)
            others = ", ".join(f"{list(shape)} ({role})" for role, shape in shapes.items() if shape != tuned)
            yield f"tensor {name}: {others}, {list(tuned)} (source fine-tuned)"

    def shards(self, scale: Scale, dtype: str) -> Iterator[ShardPlan]:
        """The result's weight files."""
        target = self.layouts[TARGET_BASE]
        planner = _Planner(self, self._scales(scale), dtype)
        shards = [
            ShardPlan(file=file, tensors=tuple(planner.tensor(entry.name) for entry in header.tensors))
            for file, header in target.headers.items()
        ]
        if self.has_head and self.embeddings[TARGET_BASE].head is None:
            shards[-1] = replace(shards[-1], tensors=(*shards[-1].tensors, planner.head()))
        return iter(shards)

    def _scales(self, scale: Scale) -> dict[str, float]:
        """λ by tensor of the result. A tied head goes with the embeddings, whose second name it is."""
        found = self.embeddings[TARGET_BASE]
        names = {
            name: name
            for name, atoms in self.matched.result.items()
            if atoms[0].dtype in FLOAT_DTYPES and not any(atom.name in self.matched.silent for atom in atoms)
        }
        if self._heads() is not None:
            tied = found.inputs.entry.name if found.inputs and not self.has_head else self._head_name()
            names[self._head_name()] = tied
        chosen = scale.by_name(set(names.values()))
        return {name: chosen[ruled] for name, ruled in names.items()}

    def _heads(self) -> dict[str, Atom] | None:
        """The head of each model by role, where the result has one stored."""
        if self.embeddings[TARGET_BASE].head is None and not self.has_head:
            return None
        outputs = {role: found.output for role, found in self.embeddings.items()}
        return {
            role: Atom(name=self._head_name(), slice=Slice(tensor=tensor), shape=tensor.entry.shape)
            for role, tensor in outputs.items()
            if tensor is not None
        }

    def _head_name(self) -> str:
        """What the result calls its head: as the target does, else as the model that has one."""
        stored = [self.embeddings[role].head for role in (TARGET_BASE, SOURCE_TUNED, SOURCE_BASE)]
        return next(tensor.entry.name for tensor in stored if tensor is not None)

    def notes(self) -> Iterator[str]:
        """What a person should know."""
        source, tuned, _ = self.layouts.values()
        if source.source.reference == tuned.source.reference:
            yield "the fine-tuned model is the source base: the diff vector is zero"
        yield from config_notes(self.layouts)
        yield from self.matched.notes
        for role, layout in self.layouts.items():
            if layout.vocabulary is None:
                yield f"the {role} has no tokenizer.json or other vocabulary: it was not compared"
            elif tuned.vocabulary is not None and role != SOURCE_TUNED:
                note = compare_vocabularies(layout.vocabulary, tuned.vocabulary).note
                if note:
                    yield f"{role} → source fine-tuned: {note}"
        if (told := rows_note(self.rows)) is not None:
            yield told
        tokens = tuned.vocabulary.size if tuned.vocabulary else 0
        if self.result_rows is not None and tokens > self.result_rows:
            yield (
                f"the fine-tune's tokenizer has {tokens:,} tokens and the result {self.result_rows:,} rows: text with "
                "the others cannot be read; resize_token_embeddings(len(tokenizer)) gives the fine-tune room for them"
            )
        if self.unties:
            own = ", ".join(role for role, found in self.embeddings.items() if not found.is_tied)
            yield (
                f"the output head is not the input embeddings in: {own}; the result has a head of its own, and its "
                "config says tie_word_embeddings false"
            )


class _Planner:
    """Lays out one tensor of the result after the other."""

    def __init__(self, trio: _Trio, scales: dict[str, float], dtype: str) -> None:
        self._trio, self._scales, self._policy = trio, scales, dtype

    def tensor(self, name: str) -> TensorPlan:
        """A tensor that the target stores."""
        matched = self._trio.matched
        if name not in matched.result:
            return self.head()
        entry = self._trio.layouts[TARGET_BASE].tensors[name].entry
        atoms = matched.result[name]
        if any(atom.name in matched.silent for atom in atoms):
            part = Part(
                tensor=name,
                dtype=entry.dtype,
                cast=None,
                elements=entry.elements,
                inputs={TARGET_BASE: Slice(tensor=self._trio.layouts[TARGET_BASE].tensors[name])},
                scale=1.0,
            )
            return TensorPlan(name=name, dtype=entry.dtype, shape=entry.shape, parts=(part,))
        made = [self._made(name, {role: matched.models[role][atom.name] for role in ROLES}) for atom in atoms]
        if len(made) == 1:
            return made[0]
        parts = tuple(part for tensor in made for part in tensor.parts)
        return TensorPlan(name=name, dtype=made[0].dtype, shape=entry.shape, parts=parts)

    def head(self) -> TensorPlan:
        """The output head."""
        heads = self._trio._heads()
        if heads is None:
            raise AssertionError("the result has no head")
        return self._made(self._trio._head_name(), heads)

    def _made(self, name: str, atoms: dict[str, Atom]) -> TensorPlan:
        tuned, target = atoms[SOURCE_TUNED].dtype, atoms[TARGET_BASE].dtype
        is_float = target in FLOAT_DTYPES
        shapes = {role: atom.shape for role, atom in atoms.items()}
        inputs = {role: atom.slice for role, atom in atoms.items()}
        whole = Part(
            tensor=name,
            dtype=output_dtype(self._policy, tuned, target) if is_float else target,
            cast=cast_dtype(self._policy, tuned) if is_float else None,
            elements=atoms[TARGET_BASE].elements,
            inputs=inputs,
            scale=self._scales.get(name, 1.0),
        )
        grows = has_rows(shapes, self._trio.rows)
        return TensorPlan(
            name=name,
            dtype=whole.dtype,
            shape=result_shape(shapes) if grows else shapes[TARGET_BASE],
            parts=tuple(row_parts(whole, inputs, shapes)) if grows else (whole,),
        )


def _only_in(unmatched: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """One line for a few tensors, one for all that the same models have where they are many."""
    by_roles: dict[tuple[str, ...], list[str]] = {}
    for name, roles in unmatched.items():
        by_roles.setdefault(roles, []).append(name)
    for roles, names in by_roles.items():
        if len(names) <= SHOWN_PROBLEMS // 2:
            yield from (f"tensor {name} is only in: {', '.join(roles)}" for name in names)
        else:
            yield f"{len(names)} tensors are only in: {', '.join(roles)} (such as {', '.join(names[:3])})"
