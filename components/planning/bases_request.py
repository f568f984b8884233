"""Which bases a run goes over, and with what: its parameters as they were set, completed by a grid's or the demo's."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from components.errors import BadParameter
from components.references import find_grid

DEMO = ("demo:release-1", "demo:release-2", "demo:release-3")
LONGEST_CHAIN = 5
LONGEST_LABEL = 60


@dataclass(frozen=True, kw_only=True)
class Bases:
    """What a run goes over."""

    references: tuple[str, ...]
    suite: str
    recipe: str


def choose(bases: str, *, suite: str, recipe: str, chain: bool) -> Bases:
    """Fill in what was left empty: from the grid that `bases` names, or from the demo.

    Args:
        bases: references with commas between them, oldest first; `family:grid` for a published grid's; or empty.
        suite: an evaluation suite, or empty.
        recipe: a fine-tuning recipe, or empty.
        chain: whether each base is for the next one, and not for every other one.

    Raises:
        BadParameter: there are too few, too many, or one comes twice.
    """
    published = find_grid(bases.strip())
    references = published[0] if published else tuple(filter(None, map(str.strip, bases.split(",")))) or DEMO
    twice = sorted({one for one in references if references.count(one) > 1})
    if twice:
        raise BadParameter(f"bases names {', '.join(twice)} twice", hint="name each base once")
    if len(references) < 2:
        raise BadParameter(f"bases names only {references[0]}", hint="name at least two, with a comma between them")
    if chain and len(references) > LONGEST_CHAIN:
        raise BadParameter(
            f"bases names {len(references)} releases, and this pipeline goes along {LONGEST_CHAIN} at most",
            hint=f"name at most {LONGEST_CHAIN}, and go on from the last of them in a second run",
        )
    grid = published[1] if published else None
    return Bases(
        references=references,
        suite=suite or (grid.suite if grid else "demo"),
        recipe=recipe or (grid.recipe if grid else "demo"),
    )


def labels(references: Sequence[str]) -> tuple[str, ...]:
    """Short names for people, each of them once, of characters that MLflow takes in a name."""
    short = [_short(reference) for reference in references]
    return tuple(_numbered(short))


def _numbered(names: Sequence[str]) -> Iterator[str]:
    used = {name for name in names if names.count(name) == 1}
    for name in names:
        numbers = (f"{name}-{number}" for number in count(1))
        label = name if names.count(name) == 1 else next(one for one in numbers if one not in used)
        used.add(label)
        yield label


def _short(reference: str) -> str:
    """What tells a reference from others: a release's name, a revision, the end of a path."""
    place = reference.rstrip("/").removesuffix("/checkpoint.json")
    last = re.split(r"[/:]", place)[-1]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last.partition("@")[2] or last)[:LONGEST_LABEL].strip("-") or "base"
