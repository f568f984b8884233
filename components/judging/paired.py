"""Scores and paired differences of scores, each with a 95 % confidence interval.

Every model answers the same questions, so the difference between two of them is taken question by question: what
makes a question hard for both cancels out, and the interval is narrower than the two scores' own intervals suggest.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.errors import BadParameter
from components.judging.evaluation import Evaluation, Sample, TaskScore, Weighted

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 %."""

RECORDED_SCORE_TOLERANCE = 5e-4
"""How far a task's recorded score may be from the mean of its samples: half of the last digit a report shows."""

Samples = dict[str, dict[str, Sample]]
"""Task to sample id to sample."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value in score units (1 is a hundred percentage points) and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """One estimate a task, and their macro average: every task weighs the same."""

    tasks: Mapping[str, Estimate]
    mean: Estimate


def scores(evaluation: Evaluation) -> Estimates:
    """Score one model, by task and overall.

    A task's interval is Wilson's (1927) score interval: centre (p + z²/2n) / (1 + z²/n), half-width
    z/(1 + z²/n) · √(v/n + z²/4n²). Its v is p(1−p), which for zeros and ones is the variance of the scores; taking
    the variance itself carries it over to graded scores, and n the effective number of samples to weighted ones. The
    overall interval is MOVER (Zou and Donner, Statistics in Medicine 27, 2008): the distances from each estimate to
    its bounds, added in squares.

    Raises:
        BadParameter: the evaluation's samples contradict its summary, or are no scores.
    """
    tasks = {task: _wilson(_scores(samples.values())) for task, samples in by_task(evaluation).items()}
    mean = _mean([estimate.value for estimate in tasks.values()])
    below = math.hypot(*(estimate.value - estimate.low for estimate in tasks.values())) / len(tasks)
    above = math.hypot(*(estimate.high - estimate.value for estimate in tasks.values())) / len(tasks)
    return Estimates(tasks=tasks, mean=Estimate(value=mean, low=max(0.0, mean - below), high=min(1.0, mean + above)))


def difference(first: Evaluation, second: Evaluation) -> Estimates:
    """How much higher `first` scores than `second`, on the same samples.

    The value is the mean difference, weighted as the samples are. The interval is the adjusted Wald interval of Bonett
    and Price (Journal of Educational and Behavioral Statistics 37, 2012) for paired proportions: two made-up pairs,
    one won and one lost, join the n real ones; mean and variance of these n + 2 differences give centre and width.
    Stated on differences and not on counts, the same formula holds for graded scores, and with the effective n for
    weighted ones, such as those of a task that is the macro average of its parts.

    Over K tasks the intervals' centres are averaged and their variances added, divided by K². Two whole made-up pairs
    in each of K tasks would pull every centre toward 0 while the width shrinks with K (measured: 6 tasks of 96 samples
    and true scores of 98 % and 1 % leave 63 % of the nominal 95 %). So the overall interval spreads one such pair of
    pairs over all tasks, with weight 1/K in each, as Price and Bonett (Computational Statistics & Data Analysis 45,
    2004) do for sums of independent proportions; for one task both are the same.

    Raises:
        BadParameter: the two were not evaluated on the same samples of the same suite, or one of them is unsound.
    """
    return estimate(_pair(first, second))


def estimate(pairs: Mapping[str, Weighted]) -> Estimates:
    """The estimates that `difference` describes, from each task's differences of scores."""
    tasks = {task: _adjusted_wald(differences) for task, differences in pairs.items()}
    moments = [_adjusted_moments(differences, weight=1 / len(pairs)) for differences in pairs.values()]
    centre = _mean([centre for centre, _ in moments])
    error = math.sqrt(math.fsum(variance for _, variance in moments)) / len(moments)
    value = _mean([estimate.value for estimate in tasks.values()])
    return Estimates(tasks=tasks, mean=_clipped(value, centre, error))


def by_task(evaluation: Evaluation) -> Samples:
    """The samples of an evaluation by task and sample id, tasks in the evaluation's order.

    Raises:
        BadParameter: a sample's task is not listed, its id comes twice or its score is outside [0, 1]; a task has no
            samples, or another score than its samples' mean.
    """
    grouped: Samples = {task.task: {} for task in evaluation.tasks}
    if not grouped:
        raise _unsound(evaluation, "it has no tasks")
    for sample in evaluation.samples:
        if sample.task not in grouped:
            raise _unsound(evaluation, f"sample {sample.id!r} belongs to task {sample.task!r}, which it does not list")
        if sample.id in grouped[sample.task]:
            raise _unsound(evaluation, f"task {sample.task!r} has the sample id {sample.id!r} twice")
        if not 0 <= sample.score <= 1:
            raise _unsound(evaluation, f"sample {sample.id!r} of task {sample.task!r} has the score {sample.score}")
        grouped[sample.task][sample.id] = sample
    for task in evaluation.tasks:
        _check_recorded(evaluation, task, list(grouped[task.task].values()))
    return grouped


def _check_recorded(evaluation: Evaluation, task: TaskScore, samples: list[Sample]) -> None:
    if not samples:
        raise _unsound(evaluation, f"task {task.task!r} has no samples")
    mean = _scores(samples).mean
    if abs(mean - task.score) > RECORDED_SCORE_TOLERANCE:
        raise _unsound(
            evaluation,
            f"task {task.task!r} is recorded with the score {task.score:.4f}, "
            f"but its {len(samples)} samples have the mean {mean:.4f}",
        )


def _unsound(evaluation: Evaluation, why: str) -> BadParameter:
    return BadParameter(
        f"the evaluation of {evaluation.model_name} on {evaluation.suite} cannot be used: {why}",
        hint="evaluate the model again",
    )


def _pair(first: Evaluation, second: Evaluation) -> dict[str, Weighted]:
    """The differences of scores by task."""
    if first.suite_digest != second.suite_digest:
        raise _unpaired(
            first,
            second,
            f"the suites are {first.suite} (digest {first.suite_digest}) and "
            f"{second.suite} (digest {second.suite_digest})",
        )
    ours, theirs = by_task(first), by_task(second)
    if ours.keys() != theirs.keys():
        raise _unpaired(first, second, f"only one of them has {_listed(ours.keys() ^ theirs.keys(), 'task')}")
    for task in ours:
        if ours[task].keys() != theirs[task].keys():
            only = ours[task].keys() ^ theirs[task].keys()
            raise _unpaired(first, second, f"in task {task!r} only one of them has {_listed(only, 'sample')}")
        if any(ours[task][id_].weight != theirs[task][id_].weight for id_ in ours[task]):
            raise _unpaired(first, second, f"the samples of task {task!r} do not count alike in both")
        other = {id_ for id_ in ours[task] if ours[task][id_].expected != theirs[task][id_].expected}
        if other:
            raise _unpaired(
                first, second, f"in task {task!r} the two expect other answers to {_listed(other, 'sample')}"
            )
    return {task: _differences(ours[task], theirs[task]) for task in ours}


def _differences(ours: Mapping[str, Sample], theirs: Mapping[str, Sample]) -> Weighted:
    ids = sorted(ours)
    return Weighted(
        values=[ours[id_].score - theirs[id_].score for id_ in ids], weights=[ours[id_].weight for id_ in ids]
    )


def _scores(samples: Iterable[Sample]) -> Weighted:
    samples = list(samples)
    return Weighted(values=[sample.score for sample in samples], weights=[sample.weight for sample in samples])


def _listed(names: Iterable[str], kind: str) -> str:
    """At most three of the names."""
    names = sorted(names)
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the {kind}{'s' if len(names) > 1 else ''} {', '.join(map(repr, names[:3]))}{rest}"


def _unpaired(first: Evaluation, second: Evaluation, why: str) -> BadParameter:
    return BadParameter(
        f"{first.model_name} and {second.model_name} were not evaluated on the same questions: {why}",
        hint="evaluate both again with the same suite and the same limit of samples",
    )


def _wilson(scores: Weighted) -> Estimate:
    n, mean = scores.size, scores.mean
    shrink = 1 + Z * Z / n
    centre = (mean + Z * Z / (2 * n)) / shrink
    half = Z / shrink * math.sqrt(scores.variance / n + Z * Z / (4 * n * n))
    return Estimate(value=mean, low=max(0.0, centre - half), high=min(1.0, centre + half))


def _adjusted_wald(differences: Weighted) -> Estimate:
    centre, variance = _adjusted_moments(differences, weight=1.0)
    return _clipped(differences.mean, centre, math.sqrt(variance))


def _adjusted_moments(differences: Weighted, *, weight: float) -> tuple[float, float]:
    """Mean, and variance of the mean, after adding +1 and −1 with `weight` each."""
    size, mean = differences.size, differences.mean
    n = size + 2 * weight
    centre = size * mean / n
    variance = (size * (differences.variance + mean * mean) + 2 * weight) / n - centre * centre
    return centre, max(0.0, variance) / n


def _clipped(value: float, centre: float, error: float) -> Estimate:
    return Estimate(value=value, low=max(-1.0, centre - Z * error), high=min(1.0, centre + Z * error))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
