"""The checkout of OLMES and its environment on this machine, and how to tell them from others."""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components import settings
from components.errors import BadParameter
from components.evaluate.olmes.command import environment
from components.evaluate.suite import OlmesSuite
from components.system import run_program

DESCRIBE = Path(__file__).with_name("describe_program.py")


class Olmes(BaseModel):
    """OLMES as it is installed."""

    model_config = ConfigDict(frozen=True)

    checkout: Path
    python: Path
    commit: str
    """Of the checkout, abbreviated; empty where it is not a git repository."""
    source: str
    """sha256 over its source files: an edited checkout is another one."""
    versions: dict[str, str]
    """Of the packages that scores depend on."""
    gpus: int
    """That its torch sees."""
    packages: Path
    """Where its environment keeps packages."""

    @property
    def vllm(self) -> bool:
        """Whether it can run models with vLLM."""
        return self.gpus > 0 and "vllm" in self.versions

    @property
    def name(self) -> str:
        """For people."""
        runner = "vllm" if self.vllm else "transformers"
        return f"OLMES {self.commit or self.source[:8]}, {runner} {self.versions[runner]}"

    @property
    def identity(self) -> list[str]:
        """What decides its scores, besides model and suite."""
        return [
            "olmes",
            self.source,
            "vllm" if self.vllm else "hf",
            *(f"{package} {version}" for package, version in sorted(self.versions.items())),
        ]


def find_olmes() -> Olmes:
    """OLMES as the environment variables tell where it is.

    Raises:
        BadParameter: it is not there, or one GPU is visible that OLMES would not use.
        ProgramFailed: its environment lacks something.
    """
    checkout, python = settings.olmes(), settings.olmes_python()
    found = _describe(checkout, python, None, [])
    olmes = Olmes(checkout=checkout, python=python, commit=_commit(checkout), source=_source(checkout), **found)
    _check_gpu(olmes)
    return olmes


def find_subtasks(olmes: Olmes, suite: OlmesSuite) -> dict[str, list[str]]:
    """By task, the names of the tasks that it consists of, itself where it is one.

    Raises:
        BadParameter: OLMES does not know it, its score is not the macro average of tasks, or it is asked twice.
    """
    described = _describe(olmes.checkout, olmes.python, olmes.packages, [task.name for task in suite.tasks])
    found: dict[str, list[str]] = described["subtasks"]
    asked: list[str] = []
    for name, subtasks in found.items():
        if subtasks is None:
            raise BadParameter(
                f"OLMES at {olmes.checkout} has no task {name!r}, nor a suite of that name that is a macro average",
                hint=f"choose from `{olmes.python} -m oe_eval.launch --list-tasks --list-task-suites`, run there",
            )
        asked += subtasks
    twice = sorted({name for name in asked if asked.count(name) > 1})
    if twice:
        raise BadParameter(
            f"the suite {suite.name} asks {twice[0]} twice, alone or in OLMES's suites", hint="leave one of them out"
        )
    return found


def _describe(checkout: Path, python: Path, packages: Path | None, names: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        variables = environment(checkout=checkout, python=python, packages=packages, work=work, offline=True)
        answer = work / "answer.json"
        run_program([str(python), "-P", str(DESCRIBE), str(answer), *names], env=variables, cwd=work)
        return dict(json.loads(answer.read_bytes()))


def _commit(checkout: Path) -> str:
    if not (checkout / ".git").exists():
        return ""
    asked = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _source(checkout: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((checkout / "oe_eval").rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            digest.update(f"{path.relative_to(checkout)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _check_gpu(olmes: Olmes) -> None:
    # OLMES sets CUDA_VISIBLE_DEVICES to 0 where it sees one GPU, and vLLM's own process then takes the machine's first.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip()
    if olmes.vllm and olmes.gpus == 1 and visible != "0":
        raise BadParameter(
            f"CUDA_VISIBLE_DEVICES is {visible!r}, but OLMES with vLLM takes the first GPU where it sees only one",
            hint="give the step a container that has only the wanted GPU, or set it to 0, or to more than one GPU",
        )
