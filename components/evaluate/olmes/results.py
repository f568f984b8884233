"""Reading the files that OLMES leaves behind: they are checked, and given in the common form."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import ProgramFailed
from components.evaluate.olmes.command import OlmesRun
from components.evaluate.suite import OlmesTask
from components.judging import Sample, TaskScore, Weighted

TOLERANCE = 1e-6
"""Largest difference between OLMES's own mean and ours: both add up the same numbers."""


@dataclass(frozen=True, kw_only=True)
class Subtask:
    """One of OLMES's tasks, answered."""

    name: str
    metric: str
    version: str
    score: float
    """OLMES's own primary score."""
    samples: tuple[Sample, ...]


def read_run(
    run: OlmesRun, *, output: Path, model: Path, subtasks: Mapping[str, Sequence[str]]
) -> tuple[tuple[TaskScore, ...], tuple[Sample, ...]]:
    """Read scores and samples of every task of a run.

    A suite's score is the macro average over its subtasks; its samples weigh accordingly.

    Raises:
        ProgramFailed: OLMES left out a task or questions of it, a score is no number, not between 0 and 1, or not the
            mean of its questions, or the results are of another model.
    """
    found = {line["task_config"]["metadata"]["alias"]: line for line in _lines(output / "metrics-all.jsonl")}
    scores: list[TaskScore] = []
    samples: list[Sample] = []
    for task in run.tasks:
        parts = [_subtask(output, found, name, task, model) for name in subtasks[task.name]]
        score = _agreeing(task.name, found, math.fsum(part.score for part in parts) / len(parts))
        weighed = [sample for part in parts for sample in _weighed(part, parts)]
        scores.append(
            TaskScore(
                task=task.name,
                description=task.description,
                metric=" / ".join(sorted({part.metric for part in parts})),
                version=" / ".join(sorted({part.version for part in parts})),
                score=score,
                samples=len(weighed),
                benchmark=task.benchmark,
            )
        )
        samples += weighed
    return tuple(scores), tuple(samples)


def _subtask(output: Path, found: Mapping[str, Any], name: str, task: OlmesTask, model: Path) -> Subtask:
    if name not in found:
        raise _unsound(f"no results of {name}: it leaves out a task that has no questions")
    metrics = found[name]
    config = metrics["task_config"]
    if metrics["model_config"]["model"] != str(model) or (task.limit and config["limit"] != task.limit):
        raise _unsound(f"results of {name} for another model or limit")
    metric = config["primary_metric"]
    samples = _samples(output / f"task-{metrics['task_idx']:03d}-{metrics['task_name']}", name, task.name, metrics)
    score = _number(metrics["metrics"].get("primary_score"), name)
    ours = Weighted(values=[s.score for s in samples], weights=[s.weight for s in samples]).mean
    if abs(ours - score) > TOLERANCE:
        raise _unsound(f"the score {score} for {name}, whose questions have the mean {ours} of {metric}")
    return Subtask(name=name, metric=metric, version=str(config["version"]), score=score, samples=samples)


def _samples(prefix: Path, name: str, task: str, metrics: Mapping[str, Any]) -> tuple[Sample, ...]:
    asked = _asked(prefix.with_name(f"{prefix.name}-requests.jsonl"))
    rows = list(_lines(prefix.with_name(f"{prefix.name}-predictions.jsonl")))
    answered = {row["doc_id"] for row in rows}
    if not rows or len(answered) != len(rows) or answered != asked.keys() or metrics["num_instances"] != len(rows):
        raise _unsound(f"answers to {len(answered)} of the {len(asked)} questions of {name}")
    metric = metrics["task_config"]["primary_metric"]
    return tuple(_sample(task, name, metric, row, asked[row["doc_id"]]) for row in rows)


def _asked(path: Path) -> dict[int, dict[str, Any]]:
    """The first request of each question, by the question's number."""
    found: dict[int, dict[str, Any]] = {}
    for row in _lines(path):
        found.setdefault(row["doc_id"], row)
    return found


def _sample(task: str, subtask: str, metric: str, row: Mapping[str, Any], request: Mapping[str, Any]) -> Sample:
    document = request["doc"]
    number = row["doc_id"]
    return Sample(
        task=task,
        id=str(number) if subtask == task else f"{subtask}/{number}",
        question=_question(document),
        expected=_choice(document, row["label"]),
        reply=_reply(document, metric, row),
        score=_number(row["metrics"].get(metric), subtask),
        weight=_answers(document, metric),
    )


def _question(document: Mapping[str, Any]) -> str:
    names = ("question", "problem", "prompt", "query")
    return str(next((document[name] for name in names if document.get(name)), document))


def _choice(document: Mapping[str, Any], label: object) -> str:
    choices = document.get("choices")
    if isinstance(label, int) and isinstance(choices, list) and 0 <= label < len(choices):
        return str(choices[label])
    return "" if label is None else label if isinstance(label, str) else json.dumps(label, ensure_ascii=False)


def _reply(document: Mapping[str, Any], metric: str, row: Mapping[str, Any]) -> str:
    first = row["model_output"][0]
    if "continuation" in first:
        return str(first["continuation"])
    return _choice(document, row["metrics"].get(f"predicted_index_{metric.removeprefix('acc_')}"))


def _answers(document: Mapping[str, Any], metric: str) -> float:
    """The weight of a question: IFEval's score by instruction is a mean over instructions, several a question."""
    return float(len(document["instruction_id_list"])) if metric.startswith("inst_level_") else 1.0


def _weighed(part: Subtask, parts: Sequence[Subtask]) -> Iterator[Sample]:
    """A part's samples with weights that make all parts of a task count alike."""
    share = 1.0 if len(parts) == 1 else math.fsum(sample.weight for sample in part.samples)
    return (sample.model_copy(update={"weight": sample.weight / share}) for sample in part.samples)


def _agreeing(name: str, totals: Mapping[str, Any], ours: float) -> float:
    theirs = _number(totals[name]["metrics"].get("primary_score") if name in totals else None, name)
    if abs(ours - theirs) > TOLERANCE:
        raise _unsound(f"the score {theirs} for {name}, whose tasks have the mean {ours}")
    return theirs


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise _unsound(f"the score {value!r} for {name}, which is no number from 0 to 1")
    return float(value)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise _unsound(f"no {path.name}")
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _unsound(what: str) -> ProgramFailed:
    return ProgramFailed(
        f"OLMES ended without an error but left {what}", hint="read its output, and run the evaluation again"
    )
