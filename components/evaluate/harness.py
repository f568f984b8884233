"""One model on one suite."""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from components.evaluate.lm_eval.request import backend
from components.evaluate.lm_eval.run import ask_lm_eval
from components.evaluate.olmes.environment import OLMES, find_olmes
from components.evaluate.olmes.run import ask_olmes
from components.evaluate.suite import LmEvalSuite, OlmesSuite, Suite
from components.evaluate.transformers4 import has_chat_template
from components.judging import Evaluation, Sample, TaskScore
from components.system import discard

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Harness:
    """A harness that is ready to ask a suite's questions."""

    name: str
    """Name and version, and of what runs the model, for people."""
    without_template: str
    """Added to the name where the model's tokenizer has no chat template: how it is asked then."""
    identity: tuple[str, ...]
    """All that decides the scores, besides model and suite."""
    ask: Callable[[Path, Path], tuple[tuple[TaskScore, ...], tuple[Sample, ...]]]
    """Asks the model in the first folder, working in the second, a new one."""


def find_harness(suite: Suite) -> Harness:
    """The harness that the suite wants, as it is installed here.

    Raises:
        BadParameter: it is not.
        ProgramFailed: its environment lacks something.
    """
    if isinstance(suite, LmEvalSuite):
        return _lm_eval(suite)
    return _olmes(suite)


def check_harness(suite: Suite) -> None:
    """Refuse a suite whose harness is not on this machine, without starting it.

    Raises:
        BadParameter: it is not.
    """
    if isinstance(suite, OlmesSuite):
        OLMES.python()


def _olmes(suite: OlmesSuite) -> Harness:
    olmes, template = find_olmes(), suite.settings.fallback_chat_template
    return Harness(
        name=olmes.name,
        without_template=f", conversations written as {template}" if template else "",
        identity=tuple(olmes.identity),
        ask=lambda model, work: ask_olmes(suite, olmes=olmes, model=model, work=work),
    )


def _lm_eval(suite: LmEvalSuite) -> Harness:
    found, gpus = backend()
    runner = "vllm" if found == "vllm" else "transformers"
    packages = ("lm_eval", "transformers", "torch", *(["vllm"] if found == "vllm" else []))
    return Harness(
        name=f"lm-eval {version('lm_eval')}, {runner} {version(runner)}",
        without_template=", without a chat template" if suite.settings.apply_chat_template else "",
        identity=("lm-eval", found, *(f"{package} {version(package)}" for package in packages)),
        ask=lambda model, work: ask_lm_eval(suite, backend=found, gpus=gpus, model=model, work=work),
    )


def evaluate(
    *, model: Path, model_name: str, model_digest: str, suite: Suite, harness: Harness, scratch: Path
) -> Evaluation:
    """Ask the model in the folder `model` every question of the suite.

    Args:
        model: folder with a checkpoint that transformers can load.
        model_name: for people.
        model_digest: of the checkpoint's manifest.
        suite: what is asked and how.
        harness: for this suite.
        scratch: folder for what the harness writes; after a failure its output stays there.

    Raises:
        ProgramFailed: the harness failed, or ended well without complete results.
        BadParameter: the suite and its tasks do not fit together.
        BadCheckpoint: the harness could not load the model rightly.
    """
    started = time.monotonic()
    scratch.mkdir(parents=True, exist_ok=True)
    # Never a folder that was used before: harnesses take results, or data, that they find for their own.
    work = Path(tempfile.mkdtemp(prefix=f"{suite.harness}-", dir=scratch)).resolve()
    tasks, samples = harness.ask(model, work)
    discard(work)
    evaluation = Evaluation(
        suite=suite.name,
        suite_digest=suite.digest,
        harness=harness.name if has_chat_template(model) else harness.name + harness.without_template,
        model_name=model_name,
        model_digest=model_digest,
        seconds=time.monotonic() - started,
        tasks=tasks,
        samples=samples,
    )
    _tell(evaluation)
    return evaluation


def _tell(evaluation: Evaluation) -> None:
    errors = evaluation.standard_errors()
    for task in evaluation.tasks:
        logger.info(
            "%s: %.1f %% ± %.1f (standard error; %d questions)",
            task.task,
            100 * task.score,
            100 * errors[task.task],
            task.samples,
        )
