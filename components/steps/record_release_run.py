"""The settle step: the ledger learns that a release is done, then people do."""

import time

from components import settings
from components.steps.artifacts import ModelArtifact, read_checkpoint
from components.store import open_store
from components.tracking import Step
from components.watch import Ledger, Release, change, content_of, notify, settled, short


def settle_release(
    run: Step,
    *,
    releases: str,
    ledger: str,
    release: str,
    target_base: ModelArtifact,
    passed: bool,
    reason: str,
    model_name: str,
    version: str,
    aliases: str,
) -> None:
    """Record a release as done and notify. A webhook that fails is told, and undoes nothing.

    Raises:
        RecycleError: the ledger cannot be changed.
    """
    target = read_checkpoint(target_base)
    digest = content_of(target.files)

    def step(known: Ledger) -> Ledger:
        attempt = known.releases.get(release)
        return settled(
            known,
            release,
            digest,
            Release(
                status="done",
                since=int(time.time()),
                name=attempt.name if attempt else target.name,
                reference=attempt.reference if attempt else target.uri,
                appeared=attempt.appeared if attempt else None,
                attempt=attempt.attempt if attempt else 1,
                run=settings.run_id(),
                tracked=run.tracker.parent_id,
                reason=short(reason),
                passed=passed,
                version=version,
            ),
        )

    after = change(open_store(), ledger, step)
    name = after.releases[digest].name if after else target.name
    run.tracker.tags({"recycled release": name})
    event = {
        "release": name,
        "happened": "recycled",
        "gate": "passed" if passed else "failed",
        "reason": reason,
        "model": model_name,
        "version": version,
        "aliases": aliases,
    }
    problem = notify([event], releases=releases, run=settings.run_id())
    run.outcome.update(settled=name, notes=[problem] if problem else [])
