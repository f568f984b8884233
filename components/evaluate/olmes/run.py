"""A suite asked with OLMES."""

import logging
from pathlib import Path

from components.evaluate.olmes.command import OlmesRun, command, environment, group_tasks
from components.evaluate.olmes.environment import Olmes, find_subtasks
from components.evaluate.olmes.results import read_run
from components.evaluate.running import Answers, advised, ask_groups, run_harness
from components.evaluate.suite import OlmesSuite
from components.evaluate.transformers4 import has_chat_template, make_transformers4_copy

logger = logging.getLogger(__name__)


def ask_olmes(suite: OlmesSuite, *, olmes: Olmes, model: Path, work: Path) -> Answers:
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
    copy = work / "model"
    make_transformers4_copy(model, copy)
    template = None if has_chat_template(model) else suite.settings.fallback_chat_template
    if template:
        logger.warning("the model's tokenizer has no chat template: conversations are written as %s", template)

    def ask(run: OlmesRun, folder: Path) -> Answers:
        logger.info("OLMES answers %s with %s", ", ".join(task.name for task in run.tasks), run.model_type)
        output = folder / "output"
        run_harness(
            command(
                run,
                python=olmes.python,
                model=copy,
                output=output,
                settings=suite.settings,
                subtasks=subtasks,
                folders=suite.folders,
                chat_template=template,
            ),
            log=folder / "olmes.log",
            env=environment(
                checkout=olmes.checkout,
                python=olmes.python,
                packages=olmes.packages,
                work=folder,
                offline=len(suite.folders) == len(suite.tasks),
            ),
            cwd=folder,
        )
        return read_run(run, output=output, model=copy, subtasks=subtasks)

    return ask_groups(suite, group_tasks(suite, vllm=olmes.vllm), ask, work)
