"""The checkout of OLMES and its environment on this machine, and how to tell them from others."""

import hashlib
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.errors import BadParameter
from components.evaluate.olmes.command import environment
from components.evaluate.suite import OlmesSuite
from components.system import Project, ask_program, commit_of, probe

DESCRIBE = Path(__file__).with_name("describe_program.py")
OLMES = Project(
    name="OLMES",
    variable="RECYCLE_OLMES",
    script="oe_eval/launch.py",
    how="get https://github.com/allenai/olmes, and see images/eval for its environment",
    calls_python=True,
)
PACKAGES = ("datasets", "lm_eval", "numpy", "sympy", "torch", "transformers", "vllm")
"""Packages whose versions can change a score."""


class Olmes(BaseModel):
    """OLMES as it is installed."""

    model_config = ConfigDict(frozen=True)

    checkout: Path
    python: Path
    commit: str
    """The checkout's commit, abbreviated; empty where it does not tell."""
    source: str
    """sha256 over its source files: an edited checkout is another one."""
    versions: dict[str, str]
    """Versions of the packages that scores depend on."""
    gpus: int
    """Number of GPUs that its torch sees."""
    packages: Path
    """Folder in which its environment keeps packages."""

    @property
    def vllm(self) -> bool:
        """Whether it can run models with vLLM."""
        return self.gpus > 0 and "vllm" in self.versions

    @property
    def name(self) -> str:
        """Name and version for people, with what runs the model."""
        runner = "vllm" if self.vllm else "transformers"
        return f"OLMES {self.commit or self.source[:8]}, {runner} {self.versions[runner]}"

    @property
    def identity(self) -> list[str]:
        """All that decides its scores, besides model and suite."""
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
    checkout, python = OLMES.folder(), OLMES.python()
    with tempfile.TemporaryDirectory() as work:
        variables = environment(checkout=checkout, python=python, packages=None, work=Path(work), offline=True)
        found = probe(python, PACKAGES, env=variables)
    olmes = Olmes(
        checkout=checkout,
        python=python,
        commit=commit_of(checkout)[:7],
        source=_source(checkout),
        versions=found.versions,
        gpus=len(found.gpus),
        packages=Path(found.packages),
    )
    _check_gpu(olmes)
    return olmes


def find_subtasks(olmes: Olmes, suite: OlmesSuite) -> dict[str, list[str]]:
    """Ask OLMES what each task of a suite consists of: the names of its subtasks, or its own where it has none.

    Raises:
        BadParameter: OLMES does not know it, its score is not the macro average of tasks, or it is asked twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        variables = environment(
            checkout=olmes.checkout, python=olmes.python, packages=olmes.packages, work=work, offline=True
        )
        names = [task.name for task in suite.tasks]
        found: dict[str, list[str]] = ask_program(olmes.python, DESCRIBE, names, work=work, env=variables)
    unknown = next((name for name in names if found[name] is None), None)
    if unknown is not None:
        raise BadParameter(
            f"OLMES at {olmes.checkout} has no task {unknown!r}, nor a suite of that name that is a macro average",
            hint=f"choose from `{olmes.python} -m oe_eval.launch --list-tasks --list-task-suites`, run there",
        )
    asked = [subtask for subtasks in found.values() for subtask in subtasks]
    twice = sorted({name for name in asked if asked.count(name) > 1})
    if twice:
        raise BadParameter(
            f"the suite {suite.name} asks {twice[0]} twice, alone or in OLMES's suites", hint="leave one of them out"
        )
    return found


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
