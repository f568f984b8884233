"""What an evaluation leaves behind, in one form whatever harness made it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Values, at least one, of which some count more than others."""

    values: Sequence[float]
    weights: Sequence[float]
    """Positive; only their ratios matter."""

    @property
    def mean(self) -> float:
        """Weighted mean."""
        return math.fsum(w * v for w, v in zip(self.weights, self.values, strict=True)) / math.fsum(self.weights)

    @property
    def size(self) -> float:
        """Effective number of values (Kish, Survey Sampling, 1965): how many of equal weight say as much."""
        return math.fsum(self.weights) ** 2 / math.fsum(weight * weight for weight in self.weights)

    @property
    def variance(self) -> float:
        """Variance of one value, so that `variance / size` is that of the mean.

        Differences between groups of values that were sampled each on its own count as well, which overstates it.
        """
        mean, squares = self.mean, math.fsum(weight * weight for weight in self.weights)
        return math.fsum((w * (v - mean)) ** 2 for w, v in zip(self.weights, self.values, strict=True)) / squares


class Sample(BaseModel):
    """One question, the model's reply and its score."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: str
    id: str
    """Unique within the task and the same for every model, so that samples can be paired."""
    question: str
    expected: str
    reply: str
    score: float
    """In [0, 1]; accuracy-like, higher is better."""
    weight: float = Field(default=1.0, gt=0)
    """What it counts in its task's mean: less where its part of the task has more samples than others, and all parts
    count alike; more where several answers are asked for at once."""


class TaskScore(BaseModel):
    """The weighted mean score of one task's samples."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: str
    description: str
    """What the task asks, for a reader who has not seen its file."""
    metric: str
    version: str = ""
    """What the harness calls the version of the task, where it has one."""
    score: float
    samples: int
    benchmark: str | None = None
    """The benchmark that it is, by the name it has in papers, for example `GSM8K`; None where it is none of those."""


class Evaluation(BaseModel):
    """One model on one suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: int = 2
    suite: str
    suite_digest: str
    """Over the suite's definition, its task files and its data: a changed one is another suite."""
    harness: str
    """Name and version of the program that ran it, and of what ran the model: `lm-eval 0.4.13, transformers 5.4.0`."""
    model_name: str
    model_digest: str
    seconds: float
    tasks: tuple[TaskScore, ...]
    samples: tuple[Sample, ...]

    @property
    def score(self) -> float:
        """Mean over tasks, each task weighing the same (macro average), in [0, 1]."""
        return sum(task.score for task in self.tasks) / len(self.tasks)

    def standard_errors(self) -> dict[str, float]:
        """Standard error of each task's score, from its samples, in score units."""
        return {task.task: _standard_error([s for s in self.samples if s.task == task.task]) for task in self.tasks}

    @property
    def standard_error(self) -> float:
        """Standard error of `score`: tasks are sampled each on its own."""
        return math.hypot(*self.standard_errors().values()) / len(self.tasks)

    def metrics(self) -> dict[str, float]:
        """Mean score with its standard error and task scores, in [0, 1].

        Without the seconds: an evaluation that the store had would show those of an earlier run as this one's.
        """
        return {
            "score": self.score,
            "standard error": self.standard_error,
            **{task.task: task.score for task in self.tasks},
        }

    @classmethod
    def read(cls, path: Path) -> "Evaluation":
        """Read what `write` wrote."""
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write canonical JSON to `path`, replacing what is there."""
        path.write_text(self.model_dump_json(), encoding="utf-8")


def _standard_error(samples: Sequence[Sample]) -> float:
    scores = Weighted(values=[sample.score for sample in samples], weights=[sample.weight for sample in samples])
    return math.sqrt(scores.variance / scores.size)
