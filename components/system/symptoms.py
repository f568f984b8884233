"""Diagnosing a failed program by its output: a table of what programs write when they fail for a known reason."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """Something that a program writes when it fails for a known reason."""

    pattern: str
    """Regular expression, searched in the program's output."""
    meaning: str
    """The reason, as a sentence about the program."""
    hint: str


GENERAL = (
    Symptom(
        pattern=r"(?i)out of memory|OutOfMemoryError|can(?:no|')t allocate memory",
        meaning="it ran out of memory",
        hint="use more or larger GPUs, a smaller batch_size in the suite, or shorter max_sequence_length in the recipe",
    ),
    Symptom(
        # 137 is what a shell, and 247 what Python, makes of a child that SIGKILL ended.
        pattern=r"exitcode\s*:\s*-9\b|SIGKILL|exit code (?:137|247)\b",
        meaning="it was killed (SIGKILL), likely because memory ran out",
        hint="give the step more memory, and run it again: a training goes on from its last complete checkpoint",
    ),
    Symptom(
        pattern=r"NCCL (?:error|WARN|failure)|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError",
        meaning="the GPUs could not talk to each other (NCCL)",
        hint="look for NCCL in its output; a container needs enough /dev/shm",
    ),
    Symptom(
        pattern=r"No space left on device",
        meaning="the disk is full",
        hint="free some space: two checkpoints of a training, of about 14 bytes a parameter, are there for a moment",
    ),
    Symptom(
        pattern=r"(?m)^(?:  \| )?(?:\[rank\d+\]: )?(?:ModuleNotFoundError: |\S+: No module named )",
        meaning="its environment lacks a package",
        hint="install what is missing into the program's own environment",
    ),
)
"""Symptoms that programs of all kinds show, the likelier reasons first."""


def diagnose(text: str, symptoms: Iterable[Symptom]) -> Symptom | None:
    """The first of the symptoms that a program's output shows, None where it shows none."""
    return next((symptom for symptom in symptoms if re.search(symptom.pattern, text)), None)
