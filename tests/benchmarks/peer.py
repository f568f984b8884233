"""mergekit's task arithmetic on the same checkpoints, from an environment of its own."""

import subprocess
import sys
from pathlib import Path

from generate import PLAIN
from machine import cores, version
from rows import Row

REQUIREMENT = "mergekit==0.1.5"
CONFIG = """\
merge_method: task_arithmetic
base_model: {place}/target
models:
  - model: {place}/tuned
    parameters: {{weight: 1.0}}
  - model: {place}/base
    parameters: {{weight: -1.0}}
parameters: {{normalize: false}}
{dtype}
"""
DTYPES = {"bfloat16": "dtype: bfloat16", "float32": "dtype: float32\nout_dtype: bfloat16"}


def python_of(given: Path | None, cache: Path) -> Path | str:
    """The interpreter that has mergekit, or why there is none; without one given, an environment is made in `cache`."""
    environment = given or cache / "mergekit"
    if environment.is_file():
        return environment
    python = environment / "bin" / "python"
    if given is not None or _has_mergekit(python):
        return python if _has_mergekit(python) else f"{python} has no mergekit"
    torch = f"torch=={version('torch').partition('+')[0]}"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT, torch],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr or done.stdout).strip().splitlines()[-1]
    return python


def rows(python: Path) -> list[Row]:
    """Its arithmetic in both dtypes, each as it comes and with shards written by threads."""
    settings = {"": [], ", async write": ["--async-write", "--write-threads", str(cores())]}
    return [
        _row(f"{REQUIREMENT.replace('==', ' ')}, {dtype}{name}", python, dtype, options)
        for dtype in DTYPES
        for name, options in settings.items()
    ]


def _row(name: str, python: Path, dtype: str, options: list[str]) -> Row:
    def command(place: Path, output: Path) -> list[str]:
        config = place / f"mergekit-{dtype}.yml"
        config.write_text(CONFIG.format(place=(place / PLAIN).resolve(), dtype=DTYPES[dtype]))
        fixed = ["--no-copy-tokenizer", "--no-write-model-card", "--quiet"]
        return [str(python), "-m", "mergekit.scripts.run_yaml", str(config), str(output), *fixed, *options]

    return Row(name=name, command=command, compared=True, environment={"PYTHONPATH": "", "HF_HUB_OFFLINE": "1"})


def _has_mergekit(python: Path) -> bool:
    command = [str(python), "-c", "import mergekit"]
    return python.exists() and not subprocess.run(command, capture_output=True, check=False).returncode
