"""One tick: look where releases appear, settle what was broken off, and take at most one release."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from components.errors import RecycleError, ServiceUnavailable
from components.store import Store
from components.watch.judge import Judgement
from components.watch.ledger import (
    Ledger,
    Listed,
    Release,
    change,
    due,
    failed,
    natural,
    overdue,
    read_ledger,
    refused,
    short,
    taken,
    with_seen,
)
from components.watch.places import Place

MOST_DATED = 50
"""Names whose date costs a request, of one tick; those that follow have their turn in the next."""
MOST_UNREADABLE = 3
"""In a row, of one tick: then it is the hub or the bucket that is down, and not a release."""
LONGEST_LOOK_S = 600.0
"""Of one tick; what it did not come to is looked at in the next."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The pipeline run that a tick begins."""

    id: str
    tracked: str
    """Its run in MLflow."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What is known of an attempt that says in the ledger that it goes on; with neither, nothing is."""

    over: str = ""
    """Why it is over."""
    goes_on: bool = False


@dataclass(kw_only=True)
class Tick:
    """What a tick found."""

    ledger: Ledger
    names: list[str]
    """Everything that the place lists. The ledger may know more: another place, or what is gone."""
    taken: str = ""
    """Digest of the release that it took, empty for none."""
    events: list[dict[str, str]] = field(default_factory=list)
    """What people are to be told: name, what happened to it, and why."""
    skipped: list[str] = field(default_factory=list)
    """What could not be looked at now, and why."""


def tick(
    *,
    store: Store,
    key: str,
    about: dict[str, str],
    place: Place,
    look: Callable[[str], Judgement],
    run: Run,
    ended: Callable[[Release], Heard],
    retry_after_s: int,
    now: int,
) -> Tick:
    """Do one.

    Args:
        store: that holds the ledger.
        key: of the ledger.
        about: what is recycled, for people.
        place: where releases appear.
        look: judges a reference.
        run: takes the release.
        ended: whether an attempt is over that says in the ledger that it goes on.
        retry_after_s: what lies between the beginnings of a first attempt that failed and the second.
        now: seconds since the epoch.

    Raises:
        RecycleError: the place or the ledger cannot be read; nothing was taken.
    """
    listed = place.listed()
    before = read_ledger(store, key)
    reasons = _broken_off(before, run, ended, retry_after_s, now)
    dated = _dated(with_seen(before, listed, now), listed, place)

    def step(ledger: Ledger) -> Ledger:
        noted = failed(with_seen(ledger, dated, now), reasons, retry_after_s, now)
        return noted if noted is ledger or noted.about else noted.model_copy(update={"about": about})

    ledger = change(store, key, step)
    found = Tick(ledger=ledger or before, names=[one.name for one in listed])
    for digest in reasons:
        after = found.ledger.releases.get(digest)
        if after is not None and after.status == "failed" and before.releases[digest].run == after.run:
            found.events.append(_event(after.name, "failed", after.reason))
    found.taken = found.ledger.taken_by(run.id) or ""
    if not found.taken:
        _take_one(found, store, key, due(found.ledger, dated, now), look, run, now)
    return found


def _broken_off(
    ledger: Ledger, run: Run, ended: Callable[[Release], Heard], retry_after_s: int, now: int
) -> dict[str, tuple[str, str]]:
    """Run and reason of the attempts that are over without having said so."""
    found = {}
    for digest, release in ledger.releases.items():
        if release.status == "running" and release.run != run.id:
            heard = ended(release)
            if heard.over:
                found[digest] = (release.run, heard.over)
            elif overdue(release, retry_after_s, now, goes_on=heard.goes_on):
                found[digest] = (release.run, "broken off: it has not come to an end in time")
    return found


def _dated(ledger: Ledger, listed: list[Listed], place: Place) -> list[Listed]:
    """The same with dates that the list does not have, of the likely newest that nobody looked at yet."""
    waiting = [
        one for one in listed if ledger.names[one.name].appeared is None and ledger.status_of(one.name) == "waiting"
    ]
    chosen = sorted(waiting, key=lambda one: natural(one.name), reverse=True)[:MOST_DATED]
    dates = {one.name: place.date_of(one) for one in chosen}
    return [
        Listed(name=one.name, reference=one.reference, state=one.state, appeared=dates.get(one.name, one.appeared))
        for one in listed
    ]


def _take_one(
    found: Tick,
    store: Store,
    key: str,
    candidates: list[Listed],
    look: Callable[[str], Judgement],
    run: Run,
    now: int,
) -> None:
    until, unreadable = time.monotonic() + LONGEST_LOOK_S, 0
    for number, one in enumerate(candidates):
        if time.monotonic() > until or unreadable == MOST_UNREADABLE:
            found.skipped.append(f"{len(candidates) - number} more are looked at in the next tick")
            return
        digest = found.ledger.names[one.name].release  # of one that failed before
        try:
            judgement = Judgement(content=digest) if digest else look(one.reference)
        except RecycleError as error:
            found.skipped.append(f"{one.name}: {error.problem}")
            unreadable = unreadable + 1 if isinstance(error, ServiceUnavailable) else 0
            continue
        unreadable = 0
        if judgement.refused:
            _refuse(found, store, key, one, judgement)
        elif _take(found, store, key, one, judgement.content, run, now):
            return


def _refuse(found: Tick, store: Store, key: str, one: Listed, judgement: Judgement) -> None:
    kind = judgement.refused or "incompatible"
    before = found.ledger.names[one.name]
    after = change(store, key, lambda ledger: refused(ledger, one, kind, judgement.reason))
    if after is None:
        return
    found.ledger = after
    if (before.refused, before.reason) != (kind, short(judgement.reason)):
        found.events.append(_event(one.name, kind, judgement.reason))


def _take(found: Tick, store: Store, key: str, one: Listed, content: str, run: Run, now: int) -> bool:
    took = False

    def step(ledger: Ledger) -> Ledger:
        nonlocal took
        after, took = taken(ledger, one, content, now=now, run=run.id, tracked=run.tracked)
        return after

    after = change(store, key, step)
    found.ledger = after or found.ledger
    found.taken = content if took else ""
    return took


def _event(name: str, happened: str, why: str) -> dict[str, str]:
    return {"release": name, "happened": happened, "reason": short(why)}
