"""Where things are, from the environment: what a run varies is a pipeline parameter, never here.

RECYCLE_HOME   folder for everything a run on one machine leaves (default `.recycle` in the working directory)
RECYCLE_STORE  the checkpoint store (default `$RECYCLE_HOME/store`)
RECYCLE_RUN_ID names the pipeline run that a step belongs to
RECYCLE_MEMORY what a transfer may take for its buffers, for example 2GB (default 512MB)
RECYCLE_WEBHOOK where people are told what a recurring run did; a secret

RECYCLE_SCRATCH_CONNECTIVITY, RECYCLE_SCRATCH_EVALUATE, RECYCLE_SCRATCH_FINETUNE
               on a cluster, how large these steps' scratch volumes are

RECYCLE_OPEN_INSTRUCT        the checkout of Open-Instruct that recipes for it run
RECYCLE_OPEN_INSTRUCT_PYTHON the python of its environment (default `.venv/bin/python` in the checkout)
RECYCLE_OLMES                the checkout of OLMES that suites for it run
RECYCLE_OLMES_PYTHON         the python of its environment (default `.venv/bin/python` in the checkout)
RECYCLE_LLAMA_TASKS          folder with Meta's task files, for the suite llama-instruct
"""

import os
import re
from pathlib import Path

from components.errors import BadParameter

UNITS = {"B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for base, endings in ((10**3, ("", "B")), (2**10, ("I", "IB")))
    for ending in endings
}


def home() -> Path:
    """Folder for everything a run on one machine leaves."""
    return Path(os.environ.get("RECYCLE_HOME", ".recycle")).expanduser().absolute()


def store_uri() -> str:
    """Where checkpoints are kept."""
    return os.environ.get("RECYCLE_STORE") or str(home() / "store")


def run_id() -> str:
    """The pipeline run that this process belongs to, empty outside one."""
    return os.environ.get("RECYCLE_RUN_ID", "")


def webhook() -> str:
    """Where people are told what a recurring run did, empty for nowhere. Never shown whole: it lets anyone write."""
    return os.environ.get("RECYCLE_WEBHOOK", "")


def memory() -> int:
    """What a transfer may take for its buffers, in bytes."""
    return parse_bytes(os.environ.get("RECYCLE_MEMORY") or "512MB")


def scratch(step: str) -> int | None:
    """Size of a step's scratch volume in bytes, None where it is not known."""
    size = os.environ.get(f"RECYCLE_SCRATCH_{step.upper()}")
    return parse_bytes(size) if size else None


def open_instruct() -> Path | None:
    """The checkout of Open-Instruct, None where none is named."""
    folder = os.environ.get("RECYCLE_OPEN_INSTRUCT")
    return Path(folder).expanduser().absolute() if folder else None


def open_instruct_python(checkout: Path) -> Path:
    """The python of Open-Instruct's environment. Not resolved: a link to it is what makes the environment."""
    python = os.environ.get("RECYCLE_OPEN_INSTRUCT_PYTHON")
    return Path(python).expanduser().absolute() if python else checkout / ".venv" / "bin" / "python"


def olmes() -> Path:
    """The checkout of OLMES.

    Raises:
        BadParameter: there is none.
    """
    checkout = folder("RECYCLE_OLMES", "get https://github.com/allenai/olmes, and see images/eval for its environment")
    if not (checkout / "oe_eval" / "launch.py").is_file():
        raise BadParameter(
            f"RECYCLE_OLMES is {checkout}, which has no oe_eval/launch.py", hint="set it to a checkout of OLMES"
        )
    return checkout


def olmes_python() -> Path:
    """The Python of OLMES's environment, not resolved, so that it stays in that environment.

    Raises:
        BadParameter: it is not there, or no `python` is beside it for OLMES to call itself with.
    """
    named = os.environ.get("RECYCLE_OLMES_PYTHON")
    python = Path(named).expanduser().absolute() if named else olmes() / ".venv" / "bin" / "python"
    if not (python.is_file() and (python.parent / "python").is_file()):
        raise BadParameter(
            f"OLMES's Python is not at {python}",
            hint="make its environment (see images/eval), or set RECYCLE_OLMES_PYTHON to its bin/python",
        )
    return python


def folder(name: str, hint: str) -> Path:
    """The folder that an environment variable names, with what to do where it does not.

    Raises:
        BadParameter: the variable is not set, or to something else.
    """
    value = os.environ.get(name)
    if not value:
        raise BadParameter(f"{name} is not set", hint=f"set it to a folder: {hint}")
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        raise BadParameter(f"{name} is {value}, which is not a folder", hint=hint)
    return path


def parse_bytes(text: str) -> int:
    """Read a size such as `512MB`, `1.5GiB`, Kubernetes' `5Gi`, or a plain number of bytes.

    Raises:
        BadParameter: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?B?|B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise BadParameter(f"the memory is {text!r}, which is not a size", hint="give a size such as 512MB or 2GiB")
    return int(float(match[1]) * UNITS[(match[2] or "B").upper()])
