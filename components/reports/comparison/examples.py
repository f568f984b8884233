"""A dozen questions worth reading, out of thousands."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Literal

from components.judging import Role, Sample
from components.reports.comparison.models import ComparedModel
from components.reports.text import Clipped, clip

Grade = Literal["right", "partly right", "wrong"]

COUNT = 12


@dataclass(frozen=True, kw_only=True)
class ShownAnswer:
    """One model's reply."""

    role: Role
    reply: Clipped
    grade: Grade
    score: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question with every model's reply."""

    task: str
    id: str
    question: Clipped
    expected: Clipped
    answers: tuple[ShownAnswer, ...]


def choose_examples(models: Sequence[ComparedModel]) -> tuple[Example, ...]:
    """Choose COUNT questions to show, the same ones for the same evaluations.

    Tasks take turns. Within a task the ways in which the models can be right and wrong take turns, the most frequent
    first and those where all models score alike last; so every kind of disagreement is seen, rare ones more often
    than they occur.
    """
    samples = [{(sample.task, sample.id): sample for sample in model.evaluation.samples} for model in models]
    patterns: dict[str, dict[tuple[float, ...], list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in models[0].evaluation.samples:
        scores = tuple(round(replies[sample.task, sample.id].score, 1) for replies in samples)
        patterns[sample.task][scores].append(sample)
    tasks = [task.task for task in models[0].evaluation.tasks]
    chosen = islice(_in_turns(_ordered(patterns[task]) for task in tasks), COUNT)
    return tuple(_example(models, samples, (sample.task, sample.id)) for sample in chosen)


def _ordered(patterns: dict[tuple[float, ...], list[Sample]]) -> Iterator[Sample]:
    differing = sorted((scores for scores in patterns if len(set(scores)) > 1), key=lambda s: (-len(patterns[s]), s))
    alike = sorted((scores for scores in patterns if len(set(scores)) == 1), key=lambda s: (-len(patterns[s]), s))
    for group in (differing, alike):
        yield from _in_turns(sorted(patterns[scores], key=_shuffled) for scores in group)


def _shuffled(sample: Sample) -> str:
    # Files are often sorted by difficulty or topic; a digest picks from all of one, and the same every time.
    return hashlib.sha256(f"{sample.task}\0{sample.id}".encode()).hexdigest()


def _in_turns(sources: Iterable[Iterable[Sample]]) -> Iterator[Sample]:
    for turn in zip_longest(*sources):
        yield from (sample for sample in turn if sample is not None)


def _example(
    models: Sequence[ComparedModel], samples: list[dict[tuple[str, str], Sample]], key: tuple[str, str]
) -> Example:
    first = samples[0][key]
    return Example(
        task=first.task,
        id=first.id,
        question=clip(first.question, shown=600),
        expected=clip(first.expected),
        answers=tuple(_answer(model, replies[key]) for model, replies in zip(models, samples, strict=True)),
    )


def _answer(model: ComparedModel, sample: Sample) -> ShownAnswer:
    grade: Grade = "right" if sample.score >= 1 else "wrong" if sample.score <= 0 else "partly right"
    return ShownAnswer(role=model.role, reply=clip(sample.reply), grade=grade, score=sample.score)
