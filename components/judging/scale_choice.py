"""Which λ to keep, of several that were tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from components.judging.evaluation import Evaluation
from components.judging.paired import Estimate, Estimates, Z, difference, scores
from components.judging.wording import interval, percent, points


@dataclass(frozen=True, kw_only=True)
class TriedScale:
    """One λ that was tried."""

    scale: float
    evaluation: Evaluation
    scores: Estimates
    lead: Estimates | None
    """Its score minus that of λ as it was set, paired question by question; None for that λ itself."""


@dataclass(frozen=True, kw_only=True)
class ScaleChoice:
    """The scales that were tried, and what follows from them."""

    tried: tuple[TriedScale, ...]
    """By λ, ascending."""
    main: TriedScale
    chosen: TriedScale
    reason: str

    @property
    def moved(self) -> bool:
        """Whether another λ than the one that was set is chosen."""
        return self.chosen is not self.main


def choose_best_scale(main: tuple[float, Evaluation], others: Sequence[tuple[float, Evaluation]]) -> ScaleChoice:
    """Choose the best mean score among the points that beat the main one clearly; without any, keep the main one.

    Clearly: the paired 95 % interval of the lead lies above 0, widened for as many tries as there are (Bonferroni:
    each has its share of the 5 %). The main λ is the published method's unless somebody
    set another, and the best of several scores is higher than its model deserves, so that a mere lead is no reason to
    leave it.

    Args:
        main: λ as it was set, and its evaluation.
        others: the same of the others, at least one, on the same questions.

    Raises:
        BadParameter: the evaluations are not of the same questions.
    """
    first = TriedScale(scale=main[0], evaluation=main[1], scores=scores(main[1]), lead=None)
    tried = [
        TriedScale(scale=scale, evaluation=found, scores=scores(found), lead=difference(found, main[1]))
        for scale, found in others
    ]
    clear = [point for point in tried if point.lead and _low(point.lead.mean, len(tried)) > 0]
    chosen = max(clear, key=_score, default=first)
    return ScaleChoice(
        tried=tuple(sorted((first, *tried), key=lambda point: point.scale)),
        main=first,
        chosen=chosen,
        reason=_reason(first, max(tried, key=_score), chosen),
    )


def _low(lead: Estimate, tries: int) -> float:
    """The lower end of an interval that holds for all of so many leads together with 95 %."""
    wider = NormalDist().inv_cdf(1 - 0.025 / tries) / Z
    return lead.value - wider * (lead.value - lead.low)


def _score(point: TriedScale) -> float:
    return point.scores.mean.value


def _reason(main: TriedScale, best: TriedScale, chosen: TriedScale) -> str:
    kept = f"λ = {main.scale:g} ({percent(_score(main))} %)"
    if chosen.lead:
        return (
            f"λ = {chosen.scale:g} scores {percent(_score(chosen))} %, {points(chosen.lead.mean.value)} points against "
            f"{kept}, with a 95 % interval of {interval(chosen.lead.mean)}: it is chosen."
        )
    if best.lead and _score(best) > _score(main):
        reaches = "reaches 0" if best.lead.mean.low <= 0 else "reaches 0 when it is widened for all tries"
        return (
            f"{kept} is kept: λ = {best.scale:g} scores {percent(_score(best))} %, but the 95 % interval of its lead, "
            f"{interval(best.lead.mean)}, {reaches}."
        )
    return f"{kept} is kept: no other λ scores higher."
