"""lm-evaluation-harness as a program: what it is asked, its environment, and what it leaves behind."""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from components.errors import BadParameter, ProgramFailed
from components.evaluate.suite import LmEvalSuite, LmEvalTask
from components.judging import Sample, TaskScore

Backend = Literal["hf", "vllm"]

TOLERANCE = 1e-6
"""Largest difference between the harness's own mean and ours: both add up the same numbers."""

logger = logging.getLogger(__name__)


def backend() -> tuple[Backend, int]:
    """Choose what runs the model, and on how many GPUs: vLLM where it is installed and has one.

    Otherwise transformers, which finds out for itself what it runs on; 0 is given then.
    """
    import torch

    gpus = torch.cuda.device_count()
    if gpus and find_spec("vllm") is None:
        logger.warning(
            "vLLM is not installed: transformers runs the model on one of the %d GPUs, slower by far; install "
            "lm-eval[vllm], as the image for evaluation has it",
            gpus,
        )
        return "hf", 0
    return ("vllm", gpus) if gpus else ("hf", 0)


def group_tasks(suite: LmEvalSuite) -> tuple[tuple[LmEvalTask, ...], ...]:
    """The suite's tasks by the length that the model is loaded for, in the order in which each first comes."""
    groups: dict[int | None, list[LmEvalTask]] = {}
    for task in suite.tasks:
        groups.setdefault(task.max_length, []).append(task)
    return tuple(tuple(tasks) for tasks in groups.values())


def request(
    suite: LmEvalSuite, tasks: Sequence[LmEvalTask], *, model: Path, chat: bool, backend: Backend, gpus: int
) -> dict[str, dict[str, Any] | None]:
    """The arguments of the harness's `TaskManager` and `simple_evaluate` for a checkpoint, and of `draw_questions`.

    Questions are conversations where `chat` is true. The harness's own tasks are left out where the suite brings a
    folder of tasks. With vLLM the model is split over all `gpus`.
    """
    settings = suite.settings
    loading: dict[str, Any] = {"pretrained": str(model), "dtype": settings.dtype, "trust_remote_code": False}
    if backend == "vllm":
        loading |= {"seed": settings.seed, "tensor_parallel_size": gpus}
    if tasks[0].max_length is not None:
        loading["max_model_len" if backend == "vllm" else "max_length"] = tasks[0].max_length
    asking: dict[str, Any] = {
        "model": backend,
        "model_args": loading,
        "tasks": [task.name for task in tasks],
        "batch_size": "auto" if backend == "vllm" else settings.batch_size,
        "num_fewshot": settings.num_fewshot,
        "apply_chat_template": chat,
        "fewshot_as_multiturn": chat,
        # Standard errors are worked out elsewhere, from pairs of samples.
        "bootstrap_iters": 0,
    }
    asking |= dict.fromkeys(
        ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), settings.seed
    )
    if settings.max_gen_toks is not None:
        asking["gen_kwargs"] = {"max_gen_toks": settings.max_gen_toks}
    folder = str(suite.folder) if suite.folder else None
    return {
        "task_manager": {"include_path": folder, "include_defaults": folder is None},
        "simple_evaluate": asking,
        "sampling": {"limit": settings.limit, "seed": settings.seed} if settings.limit else None,
    }


def environment(work: Path, *, offline: bool) -> dict[str, str]:
    """Variables that keep the harness's caches out of the way, its threads polite, and it offline where it can be.

    The cache of data sets must be a fresh one: it goes by file names and would miss an edit. Threads that spin while
    they wait make a small model dozens of times slower where cores are shared or limited, as in a container.
    """
    variables = {
        "HF_DATASETS_CACHE": str(work / "datasets"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if offline:
        variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return variables


def read_results(
    suite: LmEvalSuite, tasks: Sequence[LmEvalTask], path: Path
) -> tuple[tuple[TaskScore, ...], tuple[Sample, ...]]:
    """Read scores and samples of these tasks of the suite.

    Raises:
        ProgramFailed: the harness left out a task or questions of it, or a score is no number.
        BadParameter: the suite names a metric that the task does not have, that is not in [0, 1] or not the mean over
            the questions, or the task's ids are not unique.
    """
    if not path.is_file():
        raise _incomplete("no results")
    results = json.loads(path.read_bytes())
    scores, samples = [], []
    for task in tasks:
        if any(task.name not in results[part] for part in ("results", "n-samples", "samples")):
            raise _incomplete(f"no result of the task {task.name}; a group has none of its own")
        figures, counts = results["results"][task.name], results["n-samples"][task.name]
        asked = _samples(task, figures, results["samples"][task.name])
        version = str(results.get("versions", {}).get(task.name, ""))
        scores.append(_score(suite, task, figures, counts, asked).model_copy(update={"version": version}))
        samples += asked
    return tuple(scores), tuple(samples)


def _score(
    suite: LmEvalSuite, task: LmEvalTask, figures: Mapping[str, Any], counts: Mapping[str, int], asked: Sequence[Sample]
) -> TaskScore:
    expected, samples = min(counts["original"], suite.settings.limit or counts["original"]), len(asked)
    if not expected or samples != expected or counts["effective"] != expected:
        raise _incomplete(f"{samples} of the {expected} questions of {task.name}")
    score, mean = _in_unit_interval(figures[task.metric], task), math.fsum(sample.score for sample in asked) / samples
    if abs(score - mean) > TOLERANCE:
        raise BadParameter(
            f"{task.metric} of {task.name} is {score}, and its questions have the mean {mean}",
            hint="name a metric in the suite that is the mean of its questions': differences are judged question by "
            "question",
        )
    return TaskScore(
        task=task.name,
        description=task.description,
        metric=task.metric,
        score=score,
        samples=samples,
        benchmark=task.benchmark,
    )


def _samples(task: LmEvalTask, figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Sample]:
    if task.metric not in figures:
        known = ", ".join(name for name in figures if "," in name and "_stderr," not in name)
        raise BadParameter(
            f"the task {task.name} has no metric {task.metric!r}", hint=f"write one of {known} in the suite"
        )
    metric, filter_name = task.metric.split(",")
    chosen = [row for row in rows if row["filter"] == filter_name]
    samples = [_sample(task, metric, row) for row in sorted(chosen, key=lambda row: int(row["doc_id"]))]
    if len({sample.id for sample in samples}) < len(samples):
        raise BadParameter(f"the data of {task.name} has an id twice", hint="give every row an id of its own, or none")
    return samples


def _sample(task: LmEvalTask, metric: str, row: Mapping[str, Any]) -> Sample:
    document = row["doc"]
    question = document.get("question") or row["arguments"][0][0]
    return Sample(
        task=task.name,
        id=str(document.get("id", row["doc_id"])),
        question=_text(question),
        expected=_text(row["target"]),
        reply=_text(row["filtered_resps"][0] if len(row["filtered_resps"]) == 1 else row["filtered_resps"]),
        score=_in_unit_interval(row.get(metric), task),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_unit_interval(value: object, task: LmEvalTask) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ProgramFailed(
            f"lm-eval's {task.metric} of {task.name} is {value!r}, which is no number",
            hint="look at the replies in the harness's own output",
        )
    if not 0 <= value <= 1:
        raise BadParameter(
            f"{task.metric} of {task.name} is {value}, outside of 0 to 1",
            hint="name a metric between 0 and 1 in the suite",
        )
    return float(value)


def _incomplete(what: str) -> ProgramFailed:
    return ProgramFailed(
        f"lm-eval ended without an error but left {what}", hint="read its output, and run the evaluation again"
    )
