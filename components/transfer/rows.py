"""Rows of the vocabulary: a tensor that has a row a token is made row by row where the models' numbers of rows differ.

    rows that all three models have          the arithmetic
    rows that the fine-tune has, no base     the fine-tune's own, whatever λ is: there is nothing to subtract them from
    rows that the fine-tune does not have    the target's: it cut its padding, or the new release has more tokens

The result has as many rows as the larger of the fine-tune and the target.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from components.transfer.shards import ROLES, SOURCE_BASE, SOURCE_TUNED, TARGET_BASE, Part, Slice


def has_rows(shapes: dict[str, tuple[int, ...]], rows: dict[str, int | None]) -> bool:
    """Whether a tensor has a row a token in each model, and not the same number everywhere.

    Args:
        shapes: the tensor's, by role.
        rows: of the model's embeddings, by role.
    """
    if not all(shapes.values()) or len({shape[1:] for shape in shapes.values()}) > 1:
        return False
    return all(shapes[role][0] == rows[role] for role in shapes) and len(set(shapes.values())) > 1


def result_shape(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of a tensor with a row a token."""
    tuned, target = shapes[SOURCE_TUNED], shapes[TARGET_BASE]
    return (max(tuned[0], target[0]), *tuned[1:])


def row_parts(whole: Part, inputs: dict[str, Slice], shapes: dict[str, tuple[int, ...]]) -> Iterator[Part]:
    """Cut a tensor with a row a token where another model begins to have no row.

    Args:
        whole: says what all parts have in common.
        inputs: where the tensor is in each model, by role.
        shapes: the tensor's, by role.
    """
    rows = {role: shape[0] for role, shape in shapes.items()}
    width = math.prod(shapes[TARGET_BASE][1:])
    last = result_shape(shapes)[0]
    for first, end in pairwise(sorted({0, last, *(min(last, count) for count in rows.values())})):
        if all(first < rows[role] for role in ROLES):
            having: tuple[str, ...] = ROLES
        else:
            having = (SOURCE_TUNED,) if first < rows[SOURCE_TUNED] else (TARGET_BASE,)
        yield Part(
            tensor=whole.tensor,
            dtype=whole.dtype,
            cast=whole.cast,
            elements=(end - first) * width,
            inputs={
                role: Slice(tensor=inputs[role].tensor, start=inputs[role].start + first * width) for role in having
            },
            scale=whole.scale,
        )


def rows_note(rows: dict[str, int | None]) -> str | None:
    """What a person is told where the models have vocabularies of different sizes."""
    base, tuned, target = (rows[role] or 0 for role in (SOURCE_BASE, SOURCE_TUNED, TARGET_BASE))
    if base == tuned == target:
        return None
    common, last = min(base, tuned, target), max(tuned, target)
    told = f"rows of the vocabulary: {base:,} (source base), {tuned:,} (source fine-tuned), {target:,} (target base)"
    parts = [f"{common:,} are computed"]
    if tuned > common:
        parts.append(f"{tuned - common:,} are the fine-tune's own")
    if last > tuned:
        parts.append(f"{last - tuned:,} are the target's")
    return f"{told}; of {last:,} in the result, {', '.join(parts)}"
