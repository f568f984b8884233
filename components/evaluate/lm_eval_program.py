"""The program that runs lm-evaluation-harness: reads a request, asks the questions, writes the results.

It calls the harness's Python interface because its command line first reads all of the 14,000 task files it comes
with, which takes longer than a small suite does. Started by path, it imports nothing of this package.
"""

import json
import sys
from pathlib import Path


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
    results = simple_evaluate(**request["simple_evaluate"], device=device, task_manager=tasks, log_samples=True)
    if results is None:
        raise RuntimeError("lm-eval gave no results")
    text = json.dumps(results, default=handle_non_serializable, ensure_ascii=False)
    temporary = results_file.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(results_file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
