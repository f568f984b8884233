"""The program that runs lm-evaluation-harness: reads a request, asks the questions, writes the results.

It calls the harness's Python interface because its command line first reads all of the 14,000 task files it comes
with, which takes longer than a small suite does. Started by path, it imports nothing of this package.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def main(request_file: Path, results_file: Path) -> None:
    """Run what `request_file` asks for; `results_file` is absent until everything is done.

    Raises:
        RuntimeError: the harness gave no results.
    """
    request = json.loads(request_file.read_text(encoding="utf-8"))
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import handle_non_serializable, setup_logging

    setup_logging()
    tasks = TaskManager(**request["task_manager"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    asking, sampling = request["simple_evaluate"], request["sampling"]
    samples = draw_questions(tasks.load(asking["tasks"])["tasks"], **sampling) if sampling else None
    results = simple_evaluate(**asking, samples=samples, device=device, task_manager=tasks, log_samples=True)
    if results is None:
        raise RuntimeError("lm-eval gave no results")
    text = json.dumps(results, default=handle_non_serializable, ensure_ascii=False)
    temporary = results_file.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(results_file)


def draw_questions(tasks: Mapping[str, Any], limit: int, seed: int) -> dict[str, list[int]]:
    """Draw the questions to ask, by task their numbers: at random, the same every time; all where there are no more.

    The harness itself would ask the first ones. It takes them in the data's order, and so must this be.
    """
    import numpy as np

    counts = {name: len(task.eval_docs) for name, task in tasks.items()}
    return {
        name: sorted(np.random.RandomState(seed).choice(count, min(limit, count), replace=False).tolist())
        for name, count in counts.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
