"""Checkouts of other projects, each with a Python environment of its own: where they are, and what they have."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import settings
from components.errors import BadParameter, ProgramFailed
from components.system.programs import run_program

COMMIT_FILE = "COMMIT"
"""Name of the file that holds the commit of a checkout that has no git directory, as in an image."""

PROBE = Path(__file__).with_name("probe_program.py")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose programs are run from a checkout, with the Python of its own environment.

    The environment variable `variable` names the checkout, and `variable`_PYTHON the Python where that is not
    `.venv/bin/python` in it.
    """

    name: str
    variable: str
    script: str
    """A file by which a checkout is recognized, relative to it."""
    how: str
    """Instructions on getting a checkout and its environment, for the hint of an error."""
    calls_python: bool = False
    """Whether its programs start others as `python`, which then must be beside the Python of its environment."""

    def folder(self) -> Path:
        """The checkout.

        Raises:
            BadParameter: there is none.
        """
        folder = settings.folder(self.variable, self.how)
        if not (folder / self.script).is_file():
            raise BadParameter(
                f"{self.variable} is {folder}, which has no {self.script}",
                hint=f"set it to a checkout of {self.name}: {self.how}",
            )
        return folder

    def python(self) -> Path:
        """The Python of its environment, not resolved, so that it stays in that environment.

        Raises:
            BadParameter: there is no checkout, no such Python, or no `python` beside it where its programs need one.
        """
        folder = self.folder()
        python = settings.path(f"{self.variable}_PYTHON") or folder / ".venv" / "bin" / "python"
        called = python.parent / "python" if self.calls_python else python
        for program in (python, called):
            if program.is_file() and os.access(program, os.X_OK):
                continue
            raise BadParameter(
                f"the Python of {self.name} would be {program}, which is no program",
                hint=f"make its environment, or set {self.variable}_PYTHON to its bin/python: {self.how}",
            )
        return python


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Packages and GPUs of a Python environment."""

    versions: dict[str, str]
    """Versions of the packages that were asked for, without those that are not there."""
    gpus: list[dict[str, Any]]
    """The GPUs: the `name` of each, its `bytes` of memory, and its compute `capability` (the major number)."""
    packages: str
    """Folder that packages are installed in."""


def commit_of(checkout: Path) -> str:
    """The commit of a checkout by git or by its file COMMIT, empty where neither tells."""
    if (checkout / ".git").exists() and shutil.which("git"):
        asked = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    file = checkout / COMMIT_FILE
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def ask_program(
    python: Path, program: Path, arguments: Sequence[str] = (), *, work: Path, env: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON object that a program of ours, run in another environment, writes to the file named first.

    Args:
        python: of that environment.
        program: path of the program, which imports nothing of Recycle; its folder is not on its import path.
        arguments: its further arguments.
        work: folder to run it in, where the file is left.
        env: variables added to this process's own.

    Raises:
        ProgramFailed: it failed, or wrote no JSON object.
    """
    answer = work / "answer.json"
    run_program([str(python), "-P", str(program), str(answer), *arguments], env=env, cwd=work)
    try:
        return dict(json.loads(answer.read_bytes()))
    except (OSError, ValueError, TypeError):
        raise ProgramFailed(
            f"{python} does not tell what its environment has",
            hint=f"run it by hand: {python} -P {program} answer.json",
        ) from None


def probe(python: Path, packages: Sequence[str], *, env: Mapping[str, str]) -> Environment:
    """Ask an environment which versions of these packages it has, and which GPUs its torch sees.

    Args:
        python: of the environment.
        packages: names of distributions.
        env: variables added to this process's own.

    Raises:
        ProgramFailed: it has no torch, or is broken.
    """
    with tempfile.TemporaryDirectory() as work:
        return Environment(**ask_program(python, PROBE, packages, work=Path(work), env=env))
