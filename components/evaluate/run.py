"""One model on one suite."""

import json
import logging
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from components import programs
from components.evaluate.harness import backend, environment, read_results, request
from components.evaluate.suite import Suite
from components.evaluation import Evaluation
from components.work import discard

PROGRAM = Path(__file__).with_name("lm_eval_program.py")

logger = logging.getLogger(__name__)


def evaluate(*, model: Path, model_name: str, model_digest: str, suite: Suite, scratch: Path) -> Evaluation:
    """Ask the model in the folder `model` every question of the suite.

    Args:
        model: folder with a checkpoint that transformers can load.
        model_name: for people.
        model_digest: of the checkpoint's manifest.
        suite: what is asked and how.
        scratch: folder for what the harness writes; after a failure its output stays there.

    Raises:
        ProgramFailed: the harness failed, or ended well without complete results.
        BadParameter: the suite and its tasks do not fit together.
    """
    started = time.monotonic()
    scratch.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="lm-eval-", dir=scratch)).resolve()
    asked, results = work / "request.json", work / "results.json"
    asked.write_text(json.dumps(request(suite, model=model.resolve(), backend=backend())), encoding="utf-8")
    programs.run(
        # -P: the working directory holds a suite's files, which must not be imported in place of modules.
        [sys.executable, "-P", str(PROGRAM), str(asked), str(results)],
        log=work / "lm-eval.log",
        env=environment(work),
        cwd=suite.folder,
        on_line=logger.debug,
    )
    tasks, samples = read_results(suite, results)
    discard(work)
    return Evaluation(
        suite=suite.name,
        suite_digest=suite.digest,
        harness=f"lm-eval {version('lm_eval')}",
        model_name=model_name,
        model_digest=model_digest,
        seconds=time.monotonic() - started,
        tasks=tasks,
        samples=samples,
    )
