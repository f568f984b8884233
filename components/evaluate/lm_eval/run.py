"""A suite asked with lm-evaluation-harness."""

import json
import logging
import sys
from pathlib import Path

from components.evaluate.advice import advised
from components.evaluate.lm_eval.request import Backend, environment, read_results, request, runs
from components.evaluate.suite import LmEvalSuite
from components.evaluate.transformers4 import has_chat_template
from components.judging import Sample, TaskScore
from components.system import run_program

PROGRAM = Path(__file__).with_name("program.py")

logger = logging.getLogger(__name__)


def ask_lm_eval(
    suite: LmEvalSuite, *, backend: Backend, gpus: int, model: Path, work: Path
) -> tuple[tuple[TaskScore, ...], tuple[Sample, ...]]:
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
    scores: dict[str, TaskScore] = {}
    samples: list[Sample] = []
    for number, tasks in enumerate(runs(suite)):
        folder = work / f"run-{number}"
        folder.mkdir()
        asked, results = folder / "request.json", folder / "results.json"
        arguments = request(suite, tasks, model=model.resolve(), chat=chat, backend=backend, gpus=gpus)
        asked.write_text(json.dumps(arguments), encoding="utf-8")
        with advised():
            run_program(
                # -P: the working directory holds a suite's files, which must not be imported in place of modules.
                [sys.executable, "-P", str(PROGRAM), str(asked), str(results)],
                log=folder / "lm-eval.log",
                env=environment(folder, offline=suite.offline),
                cwd=suite.working_folder,
                on_line=logger.debug,
            )
        answered, questions = read_results(suite, tasks, results)
        scores |= {score.task: score for score in answered}
        samples += questions
    return tuple(scores[task.name] for task in suite.tasks), tuple(samples)
