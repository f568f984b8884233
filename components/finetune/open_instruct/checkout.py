"""The Open-Instruct that is installed here: its sources, its environment, and what hardware that sees."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import settings
from components.errors import BadParameter, ProgramFailed
from components.finetune.open_instruct.memory import Hardware
from components.finetune.recipe import OpenInstructRecipe, Recipe
from components.system import run_program, sha256_file, usable_memory

PROBE = Path(__file__).with_name("probe_program.py")
SCRIPT = Path("open_instruct") / "finetune.py"
COMMIT_FILE = "COMMIT"
"""Holds the commit of a checkout without its git directory, as in an image."""
TESTED_COMMIT = "e6c3044aa6201c8bfa4573c1b03142af599e730d"
"""Of https://github.com/allenai/open-instruct, 20 August 2026."""
TESTED_SOURCES = "c158dc3f3836538fdc39ed453f34954fba5eb66689e2b7854a24a7eef75b2f38"
"""Digest of that commit's Python files, by which a bare copy of it is recognized."""
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
        """What trains, with all versions that can change the result."""
        packages = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"open-instruct {self.commit}, sources {self.sources[:16]}, {packages}"


def find_checkout() -> Checkout:
    """Open-Instruct where the environment says it is, asked what it has.

    Raises:
        BadParameter: RECYCLE_OPEN_INSTRUCT or RECYCLE_OPEN_INSTRUCT_PYTHON is not set or wrong, or the commit
            cannot be told.
        ProgramFailed: its environment is broken.
    """
    folder = _folder()
    python = _python(folder)
    sources = digest_of_sources(folder)
    found = _probe(python)
    missing = [name for name in NEEDED if not found["versions"].get(name)]
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
        versions={name: version for name, version in found["versions"].items() if version},
        hardware=hardware_of(found["gpus"]),
    )


def check_trainer(recipe: Recipe) -> None:
    """Refuse a recipe whose trainer is not on this machine, without starting it.

    Raises:
        BadParameter: it is not.
    """
    if isinstance(recipe, OpenInstructRecipe):
        _python(_folder())


def hardware_of(gpus: list[dict[str, Any]]) -> Hardware:
    """What to train on: all GPUs that Open-Instruct's torch sees, or else the CPU in one process."""
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
    package = folder / SCRIPT.parent
    listing = [[path.relative_to(package).as_posix(), sha256_file(path)] for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _folder() -> Path:
    folder = settings.open_instruct()
    if folder is None:
        raise BadParameter(
            "the recipe is for Open-Instruct, and RECYCLE_OPEN_INSTRUCT does not say where that is",
            hint=f"clone https://github.com/allenai/open-instruct at {TESTED_COMMIT[:7]}, install it into its .venv, "
            "and set RECYCLE_OPEN_INSTRUCT to the clone; or choose a recipe for trl",
        )
    if not (folder / SCRIPT).is_file():
        raise BadParameter(
            f"RECYCLE_OPEN_INSTRUCT is {folder}, which has no {SCRIPT}", hint="set it to a checkout of Open-Instruct"
        )
    return folder


def _python(folder: Path) -> Path:
    python = settings.open_instruct_python(folder)
    if not os.access(python, os.X_OK) or python.is_dir():
        raise BadParameter(
            f"Open-Instruct's python would be {python}, which is no program",
            hint="install its environment there, or set RECYCLE_OPEN_INSTRUCT_PYTHON to the python that has it",
        )
    return python


def _commit(folder: Path, sources: str) -> str:
    if (folder / ".git").exists() and shutil.which("git"):
        told = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True)
        if told.returncode == 0:
            return told.stdout.strip()
    if (folder / COMMIT_FILE).is_file():
        return (folder / COMMIT_FILE).read_text(encoding="utf-8").strip()
    if sources == TESTED_SOURCES:
        return TESTED_COMMIT
    raise BadParameter(
        f"{folder} does not tell which commit of Open-Instruct it is",
        hint=f"clone it with git, or write the commit into {folder / COMMIT_FILE}",
    )


def _probe(python: Path) -> dict[str, Any]:
    lines: list[str] = []
    run_program([str(python), str(PROBE)], env={"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}, on_line=lines.append)
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ProgramFailed(
            f"{python} does not tell what Open-Instruct's environment has", hint=f"run it by hand: {python} {PROBE}"
        ) from None
    return dict(found)
