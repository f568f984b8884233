"""Running a harness: its program, what to do where it fails, and the answers of several runs put together."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components.errors import ProgramFailed
from components.evaluate.suite import Suite
from components.judging import Sample, TaskScore
from components.system import GENERAL, Symptom, diagnose, run_program

Answers = tuple[tuple[TaskScore, ...], tuple[Sample, ...]]
Group = TypeVar("Group")

SYMPTOMS = (
    *GENERAL,
    Symptom(
        pattern=r"vLLM only supports CUDA|No CUDA GPUs are available|CUDA driver|no NVIDIA driver",
        meaning="it found no GPU",
        hint="check that the step has a GPU and its driver (nvidia-smi), or run where there is none, without vLLM",
    ),
    Symptom(
        pattern=r"use the NLTK Downloader to obtain",
        meaning="it lacks a resource of NLTK",
        hint="put that resource, from a source you trust, below a folder that NLTK_DATA names in this environment",
    ),
    Symptom(
        pattern=r"not found in the task registry|Tasks? not found|Task .* not found",
        meaning="it does not know a task",
        hint="correct the task's name in the suite",
    ),
    Symptom(
        pattern=r"gated dataset|GatedRepo|401 Client Error|403 Client Error",
        meaning="it may not read a data set",
        hint="ask for access to the data set, and set HF_TOKEN",
    ),
    Symptom(
        pattern=r"OfflineModeIsEnabled|ConnectionError|LocalEntryNotFound|Couldn't reach|Max retries exceeded",
        meaning="it did not reach the hub",
        hint="let the step reach huggingface.co, or give the suite local data",
    ),
    Symptom(
        pattern=r"DatasetGeneration\w*Error|BuilderConfig .* not found|DataFilesNotFound|Column .* not in|KeyError",
        meaning="a data set does not have what the task expects",
        hint="compare the data set's splits and columns with what the task expects",
    ),
    Symptom(
        pattern=r"execute the dataset script",
        meaning="a data set is a script",
        hint="give the task a data set without a script: scripts are not run",
    ),
    Symptom(
        pattern=r"max_gen_toks .* greater than max_length",
        meaning="a reply may be longer than a question and its reply together",
        hint="give the task a larger max_length in the suite",
    ),
    Symptom(
        pattern=r"does not have chat_template|chat_template is not set",
        meaning="the tokenizer has no chat template",
        hint="give the model's tokenizer its chat template",
    ),
    Symptom(
        pattern=r"Argument list too long",
        meaning="its command line is too long",
        hint="ask fewer of the harness's suites in one suite of yours",
    ),
)


@contextmanager
def advised() -> Iterator[None]:
    """Add to the failure of a harness what to do, by what it said last.

    Raises:
        ProgramFailed: the harness failed.
    """
    try:
        yield
    except ProgramFailed as failure:
        symptom = diagnose(failure.problem, SYMPTOMS)
        if symptom is None:
            raise
        raise ProgramFailed(failure.problem, hint=f"{symptom.meaning}: {symptom.hint}; or {failure.hint}") from None


def run_harness(command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None) -> None:
    """Run a harness to its end, its output in the file `log` (see `run_program`).

    Raises:
        ProgramFailed: it failed; the hint fits what it said.
    """
    with advised():
        run_program(command, log=log, env=env, cwd=cwd, on_line=logging.getLogger(__name__).debug)


def ask_groups(suite: Suite, groups: Sequence[Group], ask: Callable[[Group, Path], Answers], work: Path) -> Answers:
    """Ask one group of the suite's tasks after the other, each in a new folder in `work`.

    Returns:
        The tasks' scores in the suite's order, and the samples of all of them.
    """
    scores: dict[str, TaskScore] = {}
    samples: list[Sample] = []
    for number, group in enumerate(groups):
        folder = work / f"run-{number}"
        folder.mkdir()
        answered, questions = ask(group, folder)
        scores |= {score.task: score for score in answered}
        samples += questions
    return tuple(scores[task.name] for task in suite.tasks), tuple(samples)
