"""The program that tells what the names of OLMES's tasks and suites stand for.

Started by path, in OLMES's environment; it imports nothing of Recycle.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(answer: Path, names: list[str]) -> None:
    """Write a JSON object to a file: by name, the tasks that it stands for.

    They are null for a name that OLMES does not know, and for a suite that is no macro average of tasks.
    """
    answer.write_text(json.dumps({name: _subtasks(name) for name in names}), encoding="utf-8")


def _subtasks(name: str) -> "list[str] | None":
    from oe_eval.configs.task_suites import TASK_SUITE_CONFIGS
    from oe_eval.configs.tasks import TASK_CONFIGS

    if name in TASK_SUITE_CONFIGS:
        suite = TASK_SUITE_CONFIGS[name]
        plain = all(task in TASK_CONFIGS for task in suite["tasks"])
        return list(suite["tasks"]) if plain and suite.get("primary_metric") == "macro" else None
    if name in TASK_CONFIGS:
        return [name]
    nltk: Any = importlib.import_module("nltk")
    # Every kind of task is imported here, which takes half a minute; IFEval's downloads a pickle as it is.
    nltk.download = lambda *_, **__: False
    from oe_eval.tasks.oe_eval_tasks import TASK_REGISTRY

    return [name] if name in TASK_REGISTRY else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
