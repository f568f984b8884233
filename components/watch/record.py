"""What the step record-release does: the ledger learns that a release is done, then people do."""

import time
from dataclasses import dataclass

from components import settings
from components.checkpoints import Checkpoint
from components.store import open_store
from components.tracking import Step
from components.watch.identity import content_of
from components.watch.ledger import Ledger, ReleaseRecord, change, short, with_done
from components.watch.webhook import notify


@dataclass(frozen=True, kw_only=True)
class Recycled:
    """What came of recycling onto a release."""

    target_base: Checkpoint
    passed: bool
    """The gate's decision."""
    reason: str
    model_name: str
    version: str
    """The registered version."""
    aliases: str


def record_recycled(run: Step, recycled: Recycled, *, releases: str, ledger: str, release: str) -> None:
    """Record a release as done and notify. A webhook that fails is reported, and undoes nothing.

    Args:
        run: the step that does it.
        recycled: what came of it.
        releases: where the release appeared.
        ledger: the key of the ledger in the store.
        release: the digest under which the ledger has what was taken.

    Raises:
        RecycleError: the ledger cannot be changed.
    """
    target = recycled.target_base
    digest = content_of(target.files)

    def step(known: Ledger) -> Ledger:
        taken = known.releases.get(release) or ReleaseRecord(
            status="running", since=0, name=target.name, reference=target.uri
        )
        done = taken.model_copy(
            update={
                "status": "done",
                "since": int(time.time()),
                "run": settings.run_id(),
                "tracked": run.tracker.root_id,
                "retry_at": 0,
                "reason": short(recycled.reason),
                "passed": recycled.passed,
                "version": recycled.version,
            }
        )
        return with_done(known, release, digest, done)

    after = change(open_store(), ledger, step)
    name = after.releases[digest].name if after else target.name
    run.tracker.tags({"recycled release": name})
    run.tracker.name_pipeline(f"watch: recycled onto {name}")
    event = {
        "release": name,
        "happened": "recycled",
        "gate": "passed" if recycled.passed else "failed",
        "reason": recycled.reason,
        "model": recycled.model_name,
        "version": recycled.version,
        "aliases": recycled.aliases,
    }
    problem = notify([event], releases=releases, run=settings.run_id())
    run.outcome.update(recorded=name, notes=[problem] if problem else [])
