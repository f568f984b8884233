"""The Open-Instruct that is installed here: its sources, its environment, and what hardware that sees."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadParameter
from components.finetune.open_instruct.memory import Hardware
from components.finetune.recipe import OpenInstructRecipe, Recipe
from components.system import COMMIT_FILE, Project, commit_of, probe, sha256_file, usable_memory

TESTED_COMMIT = "e6c3044aa6201c8bfa4573c1b03142af599e730d"
"""The commit of https://github.com/allenai/open-instruct of 20 August 2026."""
TESTED_SOURCES = "c158dc3f3836538fdc39ed453f34954fba5eb66689e2b7854a24a7eef75b2f38"
"""Digest of that commit's Python files, by which a bare copy of it is recognized."""
OPEN_INSTRUCT = Project(
    name="Open-Instruct",
    variable="RECYCLE_OPEN_INSTRUCT",
    script="open_instruct/finetune.py",
    how=f"clone https://github.com/allenai/open-instruct at {TESTED_COMMIT[:7]}, and install it into its .venv; or "
    "choose a recipe for trl",
)
ATTENTION = ("flash-attn", "flash-attn-3", "flash-attn-4")
"""Open-Instruct takes the newest of those that are there, and torch's attention without any."""
PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "datasets", "wandb", *ATTENTION)
NEEDED = ("torch", "transformers", "accelerate", "deepspeed", "wandb")
FIRST_CAPABILITY_WITH_BFLOAT16 = 8


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """An Open-Instruct that can be run."""

    folder: Path
    python: Path
    commit: str
    sources: str
    """Digest of its Python files: what decides a result even where someone has changed one."""
    versions: Mapping[str, str]
    hardware: Hardware

    @property
    def trainer(self) -> str:
        """The trainer's name, with all versions that can change the result."""
        packages = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"open-instruct {self.commit}, sources {self.sources[:16]}, {packages}"


def find_checkout() -> Checkout:
    """Open-Instruct where the environment says it is, asked what it has.

    Raises:
        BadParameter: RECYCLE_OPEN_INSTRUCT or RECYCLE_OPEN_INSTRUCT_PYTHON is not set or wrong, or the commit
            cannot be told.
        ProgramFailed: its environment is broken.
    """
    folder, python = OPEN_INSTRUCT.folder(), OPEN_INSTRUCT.python()
    sources = digest_of_sources(folder)
    found = probe(python, PACKAGES, env={"PYTHONPATH": ""})
    missing = [name for name in NEEDED if name not in found.versions]
    if missing:
        raise BadParameter(
            f"the environment of {python} lacks {', '.join(missing)}",
            hint="install Open-Instruct's requirements there, or set RECYCLE_OPEN_INSTRUCT_PYTHON to another python",
        )
    return Checkout(
        folder=folder,
        python=python,
        commit=_commit(folder, sources),
        sources=sources,
        versions=found.versions,
        hardware=hardware_of(found.gpus),
    )


def check_trainer(recipe: Recipe) -> None:
    """Refuse a recipe whose trainer is not on this machine, without starting it.

    Raises:
        BadParameter: it is not.
    """
    if isinstance(recipe, OpenInstructRecipe):
        OPEN_INSTRUCT.python()


def hardware_of(gpus: list[dict[str, Any]]) -> Hardware:
    """Hardware to train on: all GPUs that Open-Instruct's torch sees, or else the CPU in one process."""
    host = usable_memory()
    if not gpus:
        return Hardware(device="cpu", devices=1, device_bytes=host, host_bytes=host, name="CPU")
    return Hardware(
        device="cuda",
        devices=len(gpus),
        device_bytes=min(int(gpu["bytes"]) for gpu in gpus),
        host_bytes=host,
        bfloat16=all(int(gpu["capability"]) >= FIRST_CAPABILITY_WITH_BFLOAT16 for gpu in gpus),
        name=str(gpus[0]["name"]),
    )


def digest_of_sources(folder: Path) -> str:
    """sha256 over the names and contents of a checkout's own Python files."""
    package = (folder / OPEN_INSTRUCT.script).parent
    listing = [[path.relative_to(package).as_posix(), sha256_file(path)] for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _commit(folder: Path, sources: str) -> str:
    commit = commit_of(folder) or (TESTED_COMMIT if sources == TESTED_SOURCES else "")
    if not commit:
        raise BadParameter(
            f"{folder} does not tell which commit of Open-Instruct it is",
            hint=f"clone it with git, or write the commit into {folder / COMMIT_FILE}",
        )
    return commit
