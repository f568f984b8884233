"""A suite asked with OLMES."""

import logging
from pathlib import Path

from components.evaluate.advice import advised
from components.evaluate.olmes.command import command, environment, runs
from components.evaluate.olmes.environment import Olmes, find_subtasks
from components.evaluate.olmes.results import read_run
from components.evaluate.suite import OlmesSuite
from components.evaluate.transformers4 import has_chat_template, make_view
from components.judging import Sample, TaskScore
from components.system import run_program

logger = logging.getLogger(__name__)


def ask_olmes(
    suite: OlmesSuite, *, olmes: Olmes, model: Path, work: Path
) -> tuple[tuple[TaskScore, ...], tuple[Sample, ...]]:
    """Ask the model in the folder `model` every question of the suite.

    Args:
        suite: what is asked.
        olmes: as it is installed.
        model: folder with the checkpoint.
        work: an empty folder of this call's own.

    Raises:
        BadParameter: OLMES does not know a task.
        BadCheckpoint: transformers 4 could not load the model rightly.
        ProgramFailed: OLMES failed, or ended well without complete results.
    """
    with advised():
        subtasks = find_subtasks(olmes, suite)
    view = work / "model"
    make_view(model, view)
    template = None if has_chat_template(model) else suite.settings.fallback_chat_template
    if template:
        logger.warning("the model's tokenizer has no chat template: conversations are written as %s", template)
    scores: dict[str, TaskScore] = {}
    samples: list[Sample] = []
    for number, run in enumerate(runs(suite, vllm=olmes.vllm)):
        folder = work / f"run-{number}"
        folder.mkdir()
        output = folder / "output"
        logger.info("OLMES answers %s with %s", ", ".join(task.name for task in run.tasks), run.model_type)
        with advised():
            run_program(
                command(
                    run,
                    python=olmes.python,
                    model=view,
                    output=output,
                    settings=suite.settings,
                    subtasks=subtasks,
                    folders=suite.folders,
                    chat_template=template,
                ),
                log=work / f"olmes-{number}.log",
                env=environment(
                    checkout=olmes.checkout,
                    python=olmes.python,
                    packages=olmes.packages,
                    work=folder,
                    offline=len(suite.folders) == len(suite.tasks),
                ),
                cwd=folder,
                on_line=logger.debug,
            )
        answered, questions = read_run(run, output=output, model=view, subtasks=subtasks)
        scores |= {score.task: score for score in answered}
        samples += questions
    return tuple(scores[task.name] for task in suite.tasks), tuple(samples)
