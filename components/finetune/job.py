"""Checkpoints of a running job: complete ones are marked, and only the same job resumes from them."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from components.checkpoints import digest_of
from components.system import discard, sync_folder, write_durably

COMPLETE = "complete"
JOB_CHARACTERS = 16


def job_folder(scratch: Path, identity: dict[str, object]) -> Path:
    """The folder for the job that `identity` describes; other jobs' leftovers in `scratch` are removed."""
    folder = scratch / f"job-{digest_of(identity)[:JOB_CHARACTERS]}"
    for other in scratch.glob("job-*"):
        if other != folder:
            discard(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest_of_examples(examples: Iterable[object]) -> str:
    """sha256 over what is learned, in its order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr(example).encode())
    return digest.hexdigest()


def mark_complete(checkpoint: Path) -> None:
    """Mark a checkpoint whose every file is written, then drop the ones before it."""
    for path in checkpoint.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(checkpoint)
    write_durably(checkpoint / COMPLETE, b"")
    for older in _checkpoints(checkpoint.parent):
        if older != checkpoint:
            _drop(older)


def last_complete(job: Path) -> Path | None:
    """The newest complete checkpoint, None before the first; half-written ones are removed."""
    complete = None
    for checkpoint in _checkpoints(job):
        if (checkpoint / COMPLETE).exists():
            complete = checkpoint
        else:
            discard(checkpoint)
    return complete


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _checkpoints(job: Path) -> list[Path]:
    return sorted(job.glob("checkpoint-*"), key=step_of)


def _drop(checkpoint: Path) -> None:
    # The mark goes first: a kill in between must not leave a marked checkpoint with files missing.
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    discard(checkpoint)
