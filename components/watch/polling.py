"""One tick of a recurring run: look where releases appear, and take at most one of them.

What a tick notes is decided by `decide`, a pure function of the ledger and of what was heard. `poll` does the reading
around it, judges candidates one by one, and writes each decision by compare-and-swap, so that ticks may overlap and be
killed at any moment.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from components.errors import RecycleError, ServiceUnavailable
from components.store import Store
from components.watch.judge import Judgement
from components.watch.ledger import (
    Ledger,
    ListedRelease,
    ReleaseRecord,
    change,
    due,
    natural,
    overdue,
    read_ledger,
    refused,
    short,
    taken,
    with_failed,
    with_seen,
)
from components.watch.locations import Location

MOST_DATED = 50
"""Names of one tick whose date costs a request; those that follow have their turn in the next."""
MOST_UNREADABLE = 3
"""In a row, in one tick: then it is the hub or the bucket that is down, and not a release."""
LONGEST_LOOK_S = 600.0
"""For one tick; what it did not come to is looked at in the next."""


@dataclass(frozen=True, kw_only=True)
class PipelineRun:
    """The pipeline run that a tick begins."""

    id: str
    tracked: str
    """The id of its run in MLflow."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What MLflow knows of an attempt that the ledger calls running. Both fields are empty where it knows nothing."""

    over: str = ""
    """Why the attempt is over."""
    goes_on: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a tick notes before it looks at any release, and what it then looks at."""

    ledger: Ledger
    events: tuple[dict[str, str], ...]
    """The attempts that it notes as failed, as people are told of them."""
    taken: str
    """Digest of the release that this run took in an earlier try of the tick, empty for none."""
    candidates: tuple[ListedRelease, ...]
    """What is to be looked at, newest first."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is watched, for what."""

    key: str
    """Names the ledger in the store."""
    about: Mapping[str, str]
    """What is recycled, for people."""
    location: Location
    judge: Callable[[str], Judgement]
    """Judges the release that a reference leads to."""
    retry_after_s: int
    """What lies between the beginnings of a first attempt that failed and the second."""


@dataclass(kw_only=True)
class PollResult:
    """What a tick found."""

    ledger: Ledger
    names: list[str]
    """Everything that the location lists. The ledger may know more: another location's, or what is gone."""
    taken: str = ""
    """Digest of the release that the tick took, empty for none."""
    events: list[dict[str, str]] = field(default_factory=list)
    """What people are to be told: name, what happened to it, and why."""
    skipped: list[str] = field(default_factory=list)
    """What could not be looked at now, and why."""


def decide(
    ledger: Ledger,
    listing: Sequence[ListedRelease],
    outcomes: Mapping[str, RunOutcome],
    now: int,
    *,
    run: PipelineRun,
    retry_after_s: int,
) -> Decision:
    """Note what is new and which attempts failed, and choose what to look at.

    Args:
        ledger: as it is now.
        listing: what the location lists.
        outcomes: what is known of running attempts, by their pipeline run; one that is missing began meanwhile.
        now: seconds since the epoch.
        run: the pipeline run that decides.
        retry_after_s: see `Watched`.
    """
    reasons = {
        digest: (release.run, reason)
        for digest, release in ledger.releases.items()
        if release.status == "running" and release.run != run.id and release.run in outcomes
        if (reason := _over(release, outcomes[release.run], retry_after_s, now))
    }
    noted = with_failed(with_seen(ledger, listing, now), reasons, retry_after_s, now)
    failures = [noted.releases[digest] for digest in reasons]
    return Decision(
        ledger=noted,
        events=tuple(_event(one.name, "failed", one.reason) for one in failures),
        taken=noted.taken_by(run.id) or "",
        candidates=tuple(due(noted, listing, now)),
    )


def _over(release: ReleaseRecord, outcome: RunOutcome, retry_after_s: int, now: int) -> str:
    """Why a running attempt is taken for failed, empty where it is not."""
    if outcome.over:
        return outcome.over
    is_overdue = overdue(release, retry_after_s, now, goes_on=outcome.goes_on)
    return "broken off: it has not come to an end in time" if is_overdue else ""


def poll(
    store: Store, watched: Watched, run: PipelineRun, outcome_of: Callable[[ReleaseRecord], RunOutcome], now: int
) -> PollResult:
    """Do one tick.

    Args:
        store: that holds the ledger.
        watched: what is watched.
        run: takes the release.
        outcome_of: asks what is known of an attempt that the ledger calls running.
        now: seconds since the epoch.

    Raises:
        RecycleError: the location or the ledger cannot be read; nothing was taken.
    """
    listing = watched.location.listed()
    before = read_ledger(store, watched.key)
    running = [one for one in before.releases.values() if one.status == "running" and one.run != run.id]
    outcomes = {release.run: outcome_of(release) for release in running}
    listing = _dated(with_seen(before, listing, now), listing, watched.location)
    decide_on = partial(decide, run=run, retry_after_s=watched.retry_after_s)
    decision = decide_on(before, listing, outcomes, now)

    def step(ledger: Ledger) -> Ledger:
        nonlocal decision
        decision = decide_on(ledger, listing, outcomes, now)
        is_new = decision.ledger is not ledger and not ledger.about
        return decision.ledger.model_copy(update={"about": dict(watched.about)}) if is_new else decision.ledger

    ledger = change(store, watched.key, step) or before
    found = PollResult(
        ledger=ledger,
        names=[one.name for one in listing],
        taken=decision.taken,
        events=list(decision.events),
    )
    if not found.taken:
        _take_one(found, store, watched, decision.candidates, run, now)
    return found


def _dated(ledger: Ledger, listing: list[ListedRelease], location: Location) -> list[ListedRelease]:
    """The listing with dates that it does not have itself, for the likely newest that nobody looked at yet."""
    waiting = [
        one for one in listing if ledger.names[one.name].appeared is None and ledger.status_of(one.name) == "waiting"
    ]
    chosen = sorted(waiting, key=lambda one: natural(one.name), reverse=True)[:MOST_DATED]
    dates = {one.name: location.date_of(one) for one in chosen}
    return [replace(one, appeared=dates.get(one.name, one.appeared)) for one in listing]


def _take_one(
    found: PollResult, store: Store, watched: Watched, candidates: Sequence[ListedRelease], run: PipelineRun, now: int
) -> None:
    until, unreadable = time.monotonic() + LONGEST_LOOK_S, 0
    for number, one in enumerate(candidates):
        if time.monotonic() > until or unreadable == MOST_UNREADABLE:
            found.skipped.append(f"{len(candidates) - number} more are looked at in the next tick")
            return
        digest = found.ledger.names[one.name].release  # set where an attempt failed before
        try:
            judgement = Judgement(content=digest) if digest else watched.judge(one.reference)
        except RecycleError as error:
            found.skipped.append(f"{one.name}: {error.problem}")
            unreadable = unreadable + 1 if isinstance(error, ServiceUnavailable) else 0
            continue
        unreadable = 0
        if judgement.refused:
            _refuse(found, store, watched.key, one, judgement)
        elif _take(found, store, watched.key, one, judgement.content, run, now):
            return


def _refuse(found: PollResult, store: Store, key: str, one: ListedRelease, judgement: Judgement) -> None:
    kind = judgement.refused or "incompatible"
    before = found.ledger.names[one.name]
    after = change(store, key, lambda ledger: refused(ledger, one, kind, judgement.reason))
    if after is None:
        return
    found.ledger = after
    if (before.refused, before.reason) != (kind, short(judgement.reason)):
        found.events.append(_event(one.name, kind, judgement.reason))


def _take(
    found: PollResult, store: Store, key: str, one: ListedRelease, content: str, run: PipelineRun, now: int
) -> bool:
    took = False

    def step(ledger: Ledger) -> Ledger:
        nonlocal took
        after, took = taken(ledger, one, content, now=now, run=run.id, tracked=run.tracked)
        return after

    found.ledger = change(store, key, step) or found.ledger
    found.taken = content if took else ""
    return took


def _event(name: str, happened: str, why: str) -> dict[str, str]:
    return {"release": name, "happened": happened, "reason": short(why)}
