"""Where things are, from the environment: what a run varies is a pipeline parameter, never here.

RECYCLE_HOME   folder for everything a run on one machine leaves (default `.recycle` in the working directory)
RECYCLE_STORE  the checkpoint store (default `$RECYCLE_HOME/store`)
RECYCLE_RUN_ID names the pipeline run that a step belongs to
"""

import os
from pathlib import Path


def home() -> Path:
    """Folder for everything a run on one machine leaves."""
    return Path(os.environ.get("RECYCLE_HOME", ".recycle")).expanduser().absolute()


def store_uri() -> str:
    """Where checkpoints are kept."""
    return os.environ.get("RECYCLE_STORE") or str(home() / "store")


def run_id() -> str:
    """The pipeline run that this process belongs to, empty outside one."""
    return os.environ.get("RECYCLE_RUN_ID", "")
