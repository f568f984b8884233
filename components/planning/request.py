"""What a run is asked to do: its parameters as they were set, completed where they leave things open, and checked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Self

from components.definitions import find_definition
from components.errors import BadParameter
from components.finetune import check_has_steps
from components.planning.lengths import parse_lengths
from components.planning.scale_points import search_points
from components.references import check_demo_name, default_model_name, find_grid, find_transfer, release_of
from components.transfer import Scale, check_policy

CHECKPOINTS = ("source_base", "source_tuned", "target_base")
DEMO = {
    "source_base": "demo:release-1",
    "source_tuned": "demo:release-1-instruct",
    "target_base": "demo:release-2",
    "suite": "demo",
    "recipe": "demo",
}
DEMO_BASES = ("demo:release-1", "demo:release-2", "demo:release-3")
LONGEST_CHAIN = 5
LONGEST_LABEL = 60
MODEL_NAME = re.compile(r"\w[\w .-]{0,199}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every run is asked; a text is empty where nothing was chosen."""

    scale: Scale
    dtype: str = "auto"
    """The dtype policy."""
    suite: str = ""
    """Name of the evaluation suite."""
    recipe: str = ""
    """Name of the fine-tuning recipe; empty where nothing is fine-tuned, too."""
    gate_tolerance: float = 0.0
    """Share of the score."""
    model_name: str = ""
    """The registered model; empty where it is still to be named after the models."""

    def complete(self) -> Self:
        """Fill in what was left open, and refuse what contradicts itself."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse values that cannot be, before anything is looked at.

        Raises:
            BadParameter: one of them is not what it must be.
        """
        check_policy(self.dtype)
        find_definition("evaluation suite", self.suite)
        if self.recipe:
            find_definition("recipe", self.recipe)
        if not 0 <= self.gate_tolerance <= 1:
            raise BadParameter(f"gate_tolerance is {self.gate_tolerance}", hint="give a share of the score from 0 to 1")
        if self.model_name and not MODEL_NAME.fullmatch(self.model_name):
            raise BadParameter(
                f"model_name is {self.model_name!r}, which MLflow's registry would not take or find again",
                hint="use letters, digits, spaces, and . _ -",
            )


@dataclass(frozen=True, kw_only=True)
class TransferRequest(Request):
    """To move one fine-tune onto one base."""

    transfer: str = ""
    """Full name of a published transfer, which fills in what is left empty; without one the demo does."""
    source_base: str = ""
    source_tuned: str = ""
    target_base: str = ""
    finetunes: bool = False
    """Whether the run makes the source fine-tuned model, by the recipe."""
    continues: bool = False
    """Whether the run fine-tunes the recycled model further, by the recipe, over `lengths` too."""
    lengths: str = ""
    scale_search: str = ""

    def complete(self) -> Self:
        """Fill in what was left empty: from the named transfer, or without one from the demo.

        Raises:
            BadParameter: there is no such transfer, it is not one for this pipeline, a parameter contradicts it, or
                without it a checkpoint is missing.
        """
        defaults = self._published() if self.transfer else self._demo()
        filled: dict[str, Any] = {name: getattr(self, name) or default for name, default in defaults.items()}
        if self.continues and not filled["recipe"]:
            raise BadParameter(
                f"the transfer {self.transfer} has no fine-tuning recipe of its own",
                hint="name one as recipe, such as tulu3-sft",
            )
        if self.finetunes:
            filled["source_tuned"] = ""
        elif not self.continues:
            filled["recipe"] = ""
        ending = "-then-finetuned" if self.continues else ""
        name = default_model_name(filled["source_tuned"] or filled["source_base"], ending)
        return replace(self, **filled, model_name=self.model_name or name)

    def check(self) -> None:
        """Refuse values that cannot be, before anything is looked at.

        Raises:
            BadParameter: one of them is not what it must be.
        """
        super().check()
        for role in CHECKPOINTS:
            check_demo_name(getattr(self, role))
        search_points(self.scale_search, self.scale)
        if self.continues:
            parse_lengths(self.lengths)
            check_has_steps(self.recipe)

    def _published(self) -> dict[str, str]:
        published = find_transfer(self.transfer)
        for role in CHECKPOINTS:
            ours, theirs = getattr(self, role), getattr(published, role)
            if ours and theirs and release_of(ours) != theirs:
                raise BadParameter(
                    f"{role} is {ours!r}, but in the transfer {self.transfer} it is {theirs}",
                    hint=f"leave {role} empty, or pin it as {theirs}@ and a whole commit, or leave transfer empty and "
                    "name all checkpoints yourself",
                )
        if self.finetunes and not published.recipe:
            raise BadParameter(
                f"the transfer {self.transfer} starts from a fine-tuned model that is published, "
                f"{published.source_tuned}",
                hint="give this transfer to the pipeline recycle, which fine-tunes nothing",
            )
        if not self.finetunes and not (published.source_tuned or self.source_tuned):
            raise BadParameter(
                f"the fine-tuned model of the transfer {self.transfer} was not published",
                hint=f"give your fine-tune of {published.source_base} as source_tuned, or give this transfer to the "
                "pipeline finetune-and-recycle, which makes it",
            )
        return {name: getattr(published, name) for name in DEMO}

    def _demo(self) -> dict[str, str]:
        """The demo's, where it is all the demo's or nothing."""
        needed = [role for role in CHECKPOINTS if not (self.finetunes and role == "source_tuned")]
        missing = [role for role in needed if not getattr(self, role)]
        if 0 < len(missing) < len(needed):
            raise BadParameter(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given",
                hint=f"name the checkpoints with {', '.join(needed)}, or name a transfer; with none of them the demo "
                "runs",
            )
        return DEMO


@dataclass(frozen=True, kw_only=True)
class BasesRequest(Request):
    """To fine-tune several bases and move the fine-tunes between them."""

    bases: tuple[str, ...]
    """References, oldest first; or `family:grid` alone, for a published grid's."""
    chain: bool
    """Whether each base is for the next one, and not for every other one."""

    def complete(self) -> Self:
        """Fill in what was left empty: from the grid that the bases name, or from the demo.

        Raises:
            BadParameter: there are too few bases, too many, or one comes twice.
        """
        published = find_grid(self.bases[0]) if len(self.bases) == 1 else None
        bases = published[0] if published else self.bases or DEMO_BASES
        twice = sorted({one for one in bases if bases.count(one) > 1})
        if twice:
            raise BadParameter(f"bases names {', '.join(twice)} twice", hint="name each base once")
        if len(bases) < 2:
            raise BadParameter(f"bases names only {bases[0]}", hint="name at least two, with a comma between them")
        if self.chain and len(bases) > LONGEST_CHAIN:
            raise BadParameter(
                f"bases names {len(bases)} releases, and this pipeline goes along {LONGEST_CHAIN} at most",
                hint=f"name at most {LONGEST_CHAIN}, and go on from the last of them in a second run",
            )
        suite, recipe = (published[1].suite, published[1].recipe) if published else (DEMO["suite"], DEMO["recipe"])
        return replace(
            self,
            bases=bases,
            suite=self.suite or suite,
            recipe=self.recipe or recipe,
            model_name=self.model_name or default_model_name(bases[0], "-along"),
        )

    def check(self) -> None:
        """Refuse values that cannot be, before anything is looked at.

        Raises:
            BadParameter: one of them is not what it must be.
        """
        super().check()
        for reference in self.bases:
            check_demo_name(reference)

    @property
    def labels(self) -> tuple[str, ...]:
        """Short names of the bases for people, each of them once, of characters that MLflow takes in a name."""
        return tuple(_numbered([_short(reference) for reference in self.bases]))


def parse_bases(text: str) -> tuple[str, ...]:
    """Read references with commas between them."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def _numbered(names: Sequence[str]) -> Iterator[str]:
    used = {name for name in names if names.count(name) == 1}
    for name in names:
        numbers = (f"{name}-{number}" for number in count(1))
        label = name if names.count(name) == 1 else next(one for one in numbers if one not in used)
        used.add(label)
        yield label


def _short(reference: str) -> str:
    """What tells a reference from others: a release's name, a revision, the end of a path."""
    last = re.split(r"[/:]", reference.rstrip("/").removesuffix("/checkpoint.json"))[-1]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last.partition("@")[2] or last)[:LONGEST_LABEL].strip("-") or "base"
