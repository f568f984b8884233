"""OLMES as a program: which runs answer a suite, their exact command lines and their environment."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.evaluate.suite import OlmesSettings, OlmesSuite, OlmesTask

PROGRAM = Path(__file__).with_name("program.py")

ModelType = Literal["vllm", "hf"]


@dataclass(frozen=True, kw_only=True)
class OlmesRun:
    """Tasks that one start of OLMES answers, because they load the model in the same way."""

    model_type: ModelType
    max_length: int | None
    tasks: tuple[OlmesTask, ...]


def group_tasks(suite: OlmesSuite, *, vllm: bool) -> tuple[OlmesRun, ...]:
    """The suite's tasks by the way they load the model, in the order in which each way first comes.

    Args:
        suite: the tasks.
        vllm: whether vLLM is there, with a GPU; without it transformers takes its place.
    """
    groups: dict[tuple[ModelType, int | None], list[OlmesTask]] = {}
    for task in suite.tasks:
        groups.setdefault((task.model_type if vllm else "hf", task.max_length), []).append(task)
    return tuple(
        OlmesRun(model_type=model_type, max_length=max_length, tasks=tuple(tasks))
        for (model_type, max_length), tasks in groups.items()
    )


def command(
    run: OlmesRun,
    *,
    python: Path,
    model: Path,
    output: Path,
    settings: OlmesSettings,
    subtasks: Mapping[str, Sequence[str]],
    folders: Mapping[str, Path],
    chat_template: str | None,
) -> list[str]:
    """The command line of one run.

    Each subtask is given as JSON with its own limit and data set, so that one run answers tasks that differ in these.
    OLMES adds up a suite's subtasks by their `alias`, which such JSON has to bring.

    Args:
        run: what is asked.
        python: of OLMES's environment.
        model: folder with a checkpoint that transformers 4 can load.
        output: an empty folder: OLMES takes what it finds there for its own, whatever the model.
        settings: how the model is loaded.
        subtasks: by task, the names of what it consists of: itself, or a suite's tasks.
        folders: by task, the folder with its data, for those that bring their own.
        chat_template: OLMES's name of the one to use in place of the tokenizer's own.
    """
    model_args: dict[str, Any] = {"add_bos_token": settings.add_bos_token, "dtype": settings.dtype}
    if run.max_length is not None:
        model_args["max_length"] = run.max_length
    if chat_template is not None:
        model_args["chat_template"] = chat_template
    # On GPUs, OLMES itself splits the model over all that are visible.
    return [
        str(python),
        *("-P", str(PROGRAM)),
        *("--model", str(model)),
        *("--model-type", run.model_type),
        *("--model-args", json.dumps(model_args)),
        "--task",
        *(_spec(task, name, folders.get(task.name)) for task in run.tasks for name in subtasks[task.name]),
        # Without a batch size, OLMES asks vLLM one question after another.
        *("--batch-size", "auto" if run.model_type == "vllm" else str(settings.batch_size)),
        *("--output-dir", str(output)),
    ]


def _spec(task: OlmesTask, subtask: str, folder: Path | None) -> str:
    spec: dict[str, Any] = {"task_name": subtask, "metadata": {"alias": subtask}}
    if task.limit is not None:
        spec["limit"] = task.limit
    if folder is not None:
        spec["dataset_path"] = str(folder)
    if task.revision is not None:
        spec["revision"] = task.revision
    return json.dumps(spec)


def environment(*, checkout: Path, python: Path, packages: Path | None, work: Path, offline: bool) -> dict[str, str]:
    """Variables for OLMES's programs.

    Its Python comes first in the path, since OLMES starts `python` by name. The cache of data sets must be a fresh
    one: it misses edits; that of modules as well: a data set's script could be in it. What OLMES would download when it
    is imported comes from the folder of a package that has it.

    Args:
        checkout: OLMES's source.
        python: of its environment.
        packages: the folder where that environment keeps its packages; None where none of OLMES's tasks is imported.
        work: a folder of this run's own.
        offline: whether all the data is local.
    """
    variables = {
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(checkout),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_DATASETS_CACHE": str(work / "datasets"),
        "HF_DATASETS_TRUST_REMOTE_CODE": "0",
        "HF_MODULES_CACHE": str(work / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "offline",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    if packages is not None:
        variables["TIKTOKEN_CACHE_DIR"] = str(packages / "litellm" / "litellm_core_utils" / "tokenizers")
    if offline:
        variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return variables
