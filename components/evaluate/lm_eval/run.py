"""A suite asked with lm-evaluation-harness."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.lm_eval.request import Backend, environment, group_tasks, read_results, request
from components.evaluate.running import Answers, ask_groups, run_harness
from components.evaluate.suite import LmEvalSuite, LmEvalTask
from components.evaluate.transformers4 import has_chat_template

PROGRAM = Path(__file__).with_name("program.py")

logger = logging.getLogger(__name__)


def ask_lm_eval(suite: LmEvalSuite, *, backend: Backend, gpus: int, model: Path, work: Path) -> Answers:
    """Ask the model in the folder `model` every question of the suite.

    A model whose tokenizer has no chat template, as base models, is asked without one.

    Args:
        suite: what is asked.
        backend: what runs the model.
        gpus: that it may use.
        model: folder with the checkpoint.
        work: an empty folder of this call's own.

    Raises:
        ProgramFailed: the harness failed, or ended well without complete results.
        BadParameter: the suite and its tasks do not fit together.
    """
    chat = suite.settings.apply_chat_template and has_chat_template(model)
    if chat != suite.settings.apply_chat_template:
        logger.warning("the model's tokenizer has no chat template: its questions are plain text")

    def ask(tasks: Sequence[LmEvalTask], folder: Path) -> Answers:
        asked, results = folder / "request.json", folder / "results.json"
        arguments = request(suite, tasks, model=model.resolve(), chat=chat, backend=backend, gpus=gpus)
        asked.write_text(json.dumps(arguments), encoding="utf-8")
        run_harness(
            # -P: the working directory holds a suite's files, which must not be imported in place of modules.
            [sys.executable, "-P", str(PROGRAM), str(asked), str(results)],
            log=folder / "lm-eval.log",
            env=environment(folder, offline=suite.offline),
            cwd=suite.working_folder,
        )
        return read_results(suite, tasks, results)

    return ask_groups(suite, group_tasks(suite), ask, work)
