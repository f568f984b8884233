"""What a watch has seen and done: one document in the store, changed by compare-and-swap alone.

Names are where a release was seen, and in which state; releases are told apart by the digest of their content. So the
same content under two names is one release, and other content under an old name is another.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components import __version__
from components.checkpoints import canonical_json
from components.errors import BadCheckpoint, OutputConflict, describe_validation
from components.store import Store

KIND = "ledger"
LONGEST_WAIT_S = 7 * 86_400
LONGEST_REASON = 300
"""Characters: a ledger of ten thousand releases is to stay a small document."""
MOST_WRITERS = 50
"""Of one ledger at the same moment; each swap that another was faster than is one of them done."""

NOT_REFUSED = {"refused": "", "reason": "", "refused_by": ""}

Refusal = Literal["incompatible", "unlikely"]
Status = Literal["running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class ListedRelease:
    """A checkpoint as a list of many names it."""

    name: str
    """For people; stays the same as long as the release stays where it is."""
    reference: str
    """What opens it; a revision on the hub is pinned to its commit."""
    state: str
    """Differs from an earlier one when files may have changed."""
    appeared: int | None = None
    """Seconds since the epoch, None where the list does not tell."""


class Discovery(BaseModel):
    """A name, and the state it was last seen in. It waits where it has neither a release nor a refusal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: str
    seen: int
    """When it was first seen in this state, in seconds since the epoch."""
    appeared: int | None = None
    release: str = ""
    """Digest of its content, empty until it was looked at."""
    refused: Refusal | Literal[""] = ""
    """Why nothing is done with it, until its files or the version of Recycle change."""
    reason: str = ""
    refused_by: str = ""
    """The version of Recycle that refused it: a later one may know its architecture."""


class ReleaseRecord(BaseModel):
    """What was done with one content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    since: int
    """When this status began, in seconds since the epoch."""
    name: str
    """The name under which it was taken."""
    reference: str
    appeared: int | None = None
    """When that name appeared, in seconds since the epoch."""
    attempt: int = 1
    run: str = ""
    """The pipeline run of this attempt."""
    tracked: str = ""
    """Its run in MLflow."""
    retry_at: int = 0
    reason: str = ""
    passed: bool = False
    """Whether the recycled model passed the gate; meaningful once the release is done."""
    version: str = ""
    """The version of the registered model, once the release is done."""


class Ledger(BaseModel):
    """The whole document. Its changes are functions from one ledger to the next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    about: dict[str, str] = {}
    """What is recycled, for people."""
    token: str = ""
    """Differs at each write, so that no two documents are equal."""
    names: dict[str, Discovery] = {}
    releases: dict[str, ReleaseRecord] = {}

    def to_json(self) -> str:
        """The document, without fields that have their defaults."""
        written = self.model_dump(exclude_defaults=True) | {"schema_version": self.schema_version}
        return canonical_json(written).decode()

    def with_name(self, name: str, discovery: Discovery) -> "Ledger":
        """This ledger with another discovery."""
        return self.model_copy(update={"names": self.names | {name: discovery}})

    def with_release(self, digest: str, release: ReleaseRecord) -> "Ledger":
        """This ledger with another release."""
        return self.model_copy(update={"releases": self.releases | {digest: release}})

    def taken_by(self, run: str) -> str | None:
        """The release that a pipeline run took and did not finish: the run may have been killed before it said so."""
        mine = (digest for digest, one in self.releases.items() if one.status == "running" and one.run == run)
        return next(mine, None) if run else None

    def status_of(self, name: str) -> str:
        """What became of a name, in a word for people."""
        discovery = self.names[name]
        release = self.releases.get(discovery.release)
        return discovery.refused or (release.status if release else "waiting")

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """Number of these names by their status."""
        found = [self.status_of(name) for name in names]
        return {status: found.count(status) for status in sorted(set(found))}


def with_seen(ledger: Ledger, listed: Iterable[ListedRelease], now: int) -> Ledger:
    """Note what is new, or in another state; the same ledger where nothing is."""
    changed = {}
    for one in listed:
        known = ledger.names.get(one.name)
        if known is None or known.state != one.state:
            changed[one.name] = Discovery(state=one.state, seen=now, appeared=one.appeared)
        elif one.appeared is not None and known.appeared != one.appeared:
            changed[one.name] = known.model_copy(update={"appeared": one.appeared})
    return ledger.model_copy(update={"names": ledger.names | changed}) if changed else ledger


def due(ledger: Ledger, listed: Iterable[ListedRelease], now: int) -> list[ListedRelease]:
    """What is to be looked at, newest first: what this Recycle did not look at, and failed attempts due again."""

    def is_due(one: ListedRelease) -> bool:
        discovery = ledger.names[one.name]
        release = ledger.releases.get(discovery.release)
        if release is None:
            return discovery.refused_by != __version__
        return release.status == "failed" and release.retry_at <= now

    return sorted(
        filter(is_due, listed),
        key=lambda one: (ledger.names[one.name].appeared or 0, natural(one.name)),
        reverse=True,
    )


def natural(name: str) -> list[tuple[int, int, str]]:
    """What sorts names as people do, `step9` before `step10`."""
    parts = re.findall(r"\d+|\D+", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def refused(ledger: Ledger, one: ListedRelease, kind: Refusal, reason: str) -> Ledger | None:
    """Note why nothing is done with a name in this state; None where it is in another by now, or was decided."""
    discovery = ledger.names.get(one.name)
    if discovery is None or discovery.state != one.state or discovery.release or discovery.refused_by == __version__:
        return None
    changes = {"refused": kind, "reason": short(reason), "refused_by": __version__}
    return ledger.with_name(one.name, discovery.model_copy(update=changes))


def taken(ledger: Ledger, one: ListedRelease, digest: str, *, now: int, run: str, tracked: str) -> tuple[Ledger, bool]:
    """Note what content a name has, and take that for this run unless it is done, on its way, or not due.

    Returns:
        The next ledger, and whether the content was taken.
    """
    discovery = ledger.names.get(one.name)
    if discovery is not None and discovery.state == one.state and discovery.release != digest:
        ledger = ledger.with_name(one.name, discovery.model_copy(update={"release": digest} | NOT_REFUSED))
    known = ledger.releases.get(digest)
    if known is not None and known.status == "running" and run and known.run == run:
        return ledger, True  # this run's swap, whose answer was lost
    if known is not None and not (known.status == "failed" and known.retry_at <= now):
        return ledger, False
    attempt = ReleaseRecord(
        status="running",
        since=now,
        name=one.name,
        reference=one.reference,
        appeared=one.appeared,
        attempt=known.attempt + 1 if known else 1,
        run=run,
        tracked=tracked,
    )
    return ledger.with_release(digest, attempt), True


def superseded(ledger: Ledger, digest: str) -> bool:
    """Whether a newer release than this one is done, and its recycled model passed the gate."""
    own = _age(ledger.releases[digest])
    return any(one.status == "done" and one.passed and _age(one) > own for one in ledger.releases.values())


def _age(release: ReleaseRecord) -> tuple[int, list[tuple[int, int, str]]]:
    """What sorts releases as `due` does, the oldest first."""
    return release.appeared or 0, natural(release.name)


def overdue(release: ReleaseRecord, retry_after_s: int, now: int, *, goes_on: bool = False) -> bool:
    """Whether an attempt has not ended for so long that it is taken for broken off.

    Args:
        release: what is attempted.
        retry_after_s: what lies between the beginnings of the first attempt and the second.
        now: seconds since the epoch.
        goes_on: whether its run is known to go on, which then has the longest wait.
    """
    longest_s = LONGEST_WAIT_S if goes_on else wait_s(retry_after_s, release.attempt)
    return release.status == "running" and now >= release.since + longest_s


def with_failed(ledger: Ledger, reasons: Mapping[str, tuple[str, str]], retry_after_s: int, now: int) -> Ledger:
    """Note attempts that did not end well, unless they were done, or taken anew, meanwhile.

    The next one's time counts from the beginning of this; where that has passed already, from now, so that an attempt
    that was given up wrongly has time to show it.

    Args:
        ledger: the one to change.
        reasons: the attempt's run, and why it failed, by release.
        retry_after_s: what lies between the beginnings of the first attempt and the second.
        now: seconds since the epoch.
    """
    for digest, (run, reason) in reasons.items():
        known = ledger.releases.get(digest)
        if known is not None and known.status == "running" and known.run == run:
            wait = wait_s(retry_after_s, known.attempt)
            retry_at = known.since + wait
            changes = {
                "status": "failed",
                "since": now,
                "retry_at": retry_at if retry_at > now else now + wait,
                "reason": short(reason),
            }
            ledger = ledger.with_release(digest, known.model_copy(update=changes))
    return ledger


def with_done(ledger: Ledger, taken_as: str, digest: str, done: ReleaseRecord) -> Ledger:
    """Note that a release was recycled, whatever was thought of that attempt meanwhile.

    Args:
        ledger: the one to change.
        taken_as: digest of what was taken.
        digest: of what was recycled: other content, where files were replaced in between. What was taken is then to
            be looked at again.
        done: what came of it.
    """
    if taken_as != digest:
        names = {
            name: one.model_copy(update={"release": ""}) if one.release == taken_as else one
            for name, one in ledger.names.items()
        }
        releases = {key: one for key, one in ledger.releases.items() if key != taken_as}
        ledger = ledger.model_copy(update={"names": names, "releases": releases})
    return ledger.with_release(digest, done)


def short(reason: str) -> str:
    """A reason in one line that is not long."""
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def wait_s(retry_after_s: int, attempt: int) -> int:
    """Seconds from the beginning of this attempt to that of the next: doubled each time, at most a week."""
    return min(retry_after_s << min(attempt - 1, 30), LONGEST_WAIT_S)


def read_ledger(store: Store, key: str) -> Ledger:
    """The ledger as it is now, an empty one where there is none yet.

    Raises:
        BadCheckpoint: it is damaged, or of a newer version.
    """
    return _read(store, key)[1]


def change(store: Store, key: str, step: Callable[[Ledger], Ledger | None]) -> Ledger | None:
    """Replace the ledger by what `step` makes of it, again where another was faster.

    Returns:
        The ledger that stands; None where `step` found nothing to change and said so by None.

    Raises:
        BadCheckpoint: the ledger is damaged, or of a newer version.
        OutputConflict: others change it without end.
    """
    for _ in range(MOST_WRITERS):
        old, ledger = _read(store, key)
        new = step(ledger)
        if new is None or new is ledger:
            return new
        new = new.model_copy(update={"token": secrets.token_hex(8)})
        if store.compare_and_swap(KIND, key, old, new.to_json()):
            return new
    raise OutputConflict(
        f"{store.uri}/results/{KIND}/{key} is changed by others without end, or damaged",
        hint="look at it; run the same command again later",
    )


def _read(store: Store, key: str) -> tuple[str | None, Ledger]:
    text = store.get(KIND, key)
    if text is None:
        return None, Ledger()
    try:
        return text, Ledger.model_validate_json(text)
    except ValidationError as error:
        raise BadCheckpoint(
            f"{store.uri}/results/{KIND}/{key} is no ledger of this version ({describe_validation(error)})",
            hint="use the newest version of Recycle; or remove that document: then everything that is listed counts as "
            "new, and what is in the store is found there and not made again",
        ) from None
