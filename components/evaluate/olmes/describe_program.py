"""The program that tells what OLMES's environment has, and what the names of tasks stand for.

It runs in that environment. Started by path, it imports nothing of this package.
"""

import importlib
import json
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("datasets", "lm_eval", "numpy", "sympy", "torch", "transformers", "vllm")


def main(answer: Path, names: list[str]) -> None:
    """Write a JSON object: versions, number of GPUs, folder of packages, and subtasks by name.

    The subtasks of a name that OLMES does not know are null, as are those of a suite that is no macro average of
    tasks.
    """
    import torch

    found = {
        "versions": {name: installed for name in PACKAGES if (installed := _version(name))},
        "gpus": torch.cuda.device_count(),
        "packages": sysconfig.get_paths()["purelib"],
        "subtasks": {name: _subtasks(name) for name in names},
    }
    answer.write_text(json.dumps(found), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


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
