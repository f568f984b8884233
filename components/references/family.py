"""Model families: releases and published transfers by name, one YAML file a family beside the resolve step."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import permutations

from pydantic import BaseModel, ConfigDict, Field

from components.definitions import FOLDERS, load_definition
from components.errors import BadParameter, BadReference

_NAME = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_REFERENCE = re.compile(rf"(?P<release>{_NAME}:{_NAME})(@(?P<commit>[0-9a-f]{{40}}))?")


class Release(BaseModel):
    """One checkpoint of a family, on the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=rf"^{_NAME}$")
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(default="main", min_length=1)
    """Branch or tag; a run pins it to the commit that it then stands for."""
    base: str = ""
    """The release that it is a fine-tune of, over however many stages; empty for a base."""


class PublishedTransfer(BaseModel):
    """A published transfer: three checkpoints, and what its results were measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=rf"^{_NAME}$")
    source_base: str
    source_tuned: str = ""
    """Empty where the fine-tuned model was not published: it is made by `recipe`."""
    target_base: str
    suite: str
    recipe: str = ""


class Grid(BaseModel):
    """The fine-tune of each of some releases moved onto each other one, as transfers named `SOURCE-to-TARGET`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    releases: tuple[str, ...] = Field(min_length=2)
    recipe: str
    suite: str


class Family(BaseModel):
    """The content of a family's YAML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=rf"^{_NAME}$")
    description: str
    releases: tuple[Release, ...] = Field(min_length=1)
    transfers: tuple[PublishedTransfer, ...] = ()
    grids: tuple[Grid, ...] = ()
    """The first is known as `family:grid`."""

    def named_transfers(self) -> tuple[PublishedTransfer, ...]:
        """Its transfers, those of its grids too."""
        of_grids = (
            PublishedTransfer(
                name=f"{source}-to-{target}",
                source_base=f"{self.name}:{source}",
                target_base=f"{self.name}:{target}",
                suite=grid.suite,
                recipe=grid.recipe,
            )
            for grid in self.grids
            for source, target in permutations(grid.releases, 2)
        )
        return (*self.transfers, *of_grids)


@cache
def families() -> Mapping[str, Family]:
    """Every family by name.

    Raises:
        BadParameter: a file is not a family.
    """
    paths = sorted(FOLDERS["model family"].glob("*.yaml"))
    found = [load_definition("model family", str(path), Family)[0] for path in paths]
    return {family.name: family for family in found}


@cache
def releases() -> Mapping[str, Release]:
    """Every release by its full name, for example `olmo2-7b:M3`."""
    return {f"{family.name}:{one.name}": one for family in families().values() for one in family.releases}


@cache
def transfers() -> Mapping[str, PublishedTransfer]:
    """Every published transfer by its full name, for example `llama3:3.0-to-3.1`."""
    return {f"{family.name}:{one.name}": one for family in families().values() for one in family.named_transfers()}


def find_transfer(name: str) -> PublishedTransfer:
    """The published transfer called `name`.

    Raises:
        BadParameter: there is none; the message lists them, those that are spelt like it first.
    """
    if name not in transfers():
        raise BadParameter(f"there is no transfer {name!r}", hint=f"use one of {_closest_first(name, transfers())}")
    return transfers()[name]


def find_grid(name: str) -> tuple[tuple[str, ...], Grid] | None:
    """The published grid that `family:grid` names.

    Returns:
        The full names of its releases, and the grid; None where the name is not of that form.

    Raises:
        BadParameter: it is, and there is no such family, or it has no grid.
    """
    family, _, rest = name.partition(":")
    if rest != "grid":
        return None
    having = {one.name: one for one in families().values() if one.grids}
    if family not in having:
        raise BadParameter(
            f"{name!r} names no grid", hint=f"use one of {', '.join(f'{known}:grid' for known in having)}"
        )
    grid = having[family].grids[0]
    return tuple(f"{family}:{release}" for release in grid.releases), grid


def on_hub(reference: str) -> tuple[str, Release, str] | None:
    """What `family:release` or `family:release@commit` stands for.

    Returns:
        The release's full name, the release, and the hub's `repo@revision`; None where it is not of that form.

    Raises:
        BadReference: it is of that form, and there is no such release.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    name = match["release"]
    if name not in releases():
        raise BadReference(
            f"{name!r} names no release, and nothing on this machine",
            hint=f"use one of {_closest_first(name, releases())}, or demo:NAME",
        )
    release = releases()[name]
    return name, release, f"{release.repo}@{match['commit'] or release.revision}"


def release_at(repo: str, revision: str) -> str:
    """The full name of the release that a revision of a hub repository is, empty for none."""
    return next((name for name, one in releases().items() if (one.repo, one.revision) == (repo, revision)), "")


def release_of(reference: str) -> str:
    """The full name of the release that a reference stands for, by its own spelling or the hub's, empty for none."""
    match = _REFERENCE.fullmatch(reference)
    if match is not None:
        return match["release"] if match["release"] in releases() else ""
    repo, _, revision = reference.partition("@")
    return release_at(repo, revision or "main")


def _closest_first(name: str, names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(difflib.get_close_matches(name, known, n=len(known), cutoff=0.0))
