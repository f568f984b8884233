"""What the step find-release does: one tick, told to people, and what its pipeline then recycles onto."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from components import settings
from components.checkpoints import digest_of
from components.definitions import find_definition
from components.errors import BadParameter
from components.references import DEMO_PREFIX, default_model_name
from components.store import open_store
from components.tracking import Step
from components.transfer import check_policy, parse_scale
from components.units import parse_duration
from components.watch.attempts import outcome_in_mlflow
from components.watch.judge import judge, open_subject
from components.watch.ledger import superseded
from components.watch.locations import open_location
from components.watch.page import markdown
from components.watch.polling import PipelineRun, PollResult, Watched, poll
from components.watch.webhook import notify


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """What to watch and to recycle, as people write it."""

    releases: str
    source_base: str
    source_tuned: str
    scale: str
    dtype: str
    suite: str
    model_name: str
    retry_after: str

    @property
    def about(self) -> dict[str, str]:
        """What is recycled, for people who read the ledger."""
        names = {"source_base": "source base", "source_tuned": "source fine-tuned", "model_name": "model name"}
        values = asdict(self)
        kept = ("source_base", "source_tuned", "scale", "dtype", "suite", "model_name")
        return {names.get(name, name): values[name] for name in kept}


class NewRelease(NamedTuple):
    """What a tick gives to the steps after it, in the order of the step's outputs."""

    is_there: bool
    """Whether there is something to recycle; the references of the release are empty where not."""
    source_base: str
    source_tuned: str
    target_base: str
    """These three are references, pinned."""
    ledger: str
    """The key of the ledger in the store."""
    release: str
    """The digest that the ledger has the release under."""
    superseded: bool
    """Whether a newer release is done and passed, whose aliases are to stay."""
    model_name: str
    """The registered model."""


def check_watch(*, releases: str, source_base: str, source_tuned: str, suite: str) -> None:
    """Refuse parameters that cannot be meant so.

    Raises:
        BadParameter: one of them.
        BadReference: `releases` is no address in a bucket.
    """
    open_location(releases)
    find_definition("evaluation suite", suite)
    given = {"releases": releases, "source_base": source_base, "source_tuned": source_tuned}
    missing = [name for name, value in given.items() if not value]
    demo = [name for name, value in given.items() if value.startswith(DEMO_PREFIX)]
    if missing:
        raise BadParameter(f"{' and '.join(missing)} not given", hint=f"set {', '.join(given)} together")
    if 0 < len(demo) < len(given):
        others = [name for name in given if name not in demo]
        raise BadParameter(
            f"{' and '.join(demo)} name the demo's models, and {' and '.join(others)} others, which would not fit them",
            hint="name a fine-tune and its base of the family whose releases are watched, or all three of the demo's",
        )


def find_new_release(request: WatchRequest, run: Step, page: str) -> NewRelease:
    """Do one tick, tell what it found, and write the page of what was seen.

    Args:
        request: what to watch.
        run: the step that does it.
        page: the file to write.

    Raises:
        RecycleError: a parameter cannot be, or the location, the source or the store cannot be read.
    """
    check_watch(
        releases=request.releases,
        source_base=request.source_base,
        source_tuned=request.source_tuned,
        suite=request.suite,
    )
    check_policy(request.dtype)
    retry_after_s, scale, location = (
        parse_duration(request.retry_after, "retry_after", at_least=1),
        parse_scale(request.scale),
        open_location(request.releases),
    )
    store = open_store()
    subject = open_subject(
        source_base=request.source_base,
        source_tuned=request.source_tuned,
        scale=scale,
        dtype=request.dtype,
        store=store,
    )
    request = replace(request, model_name=request.model_name or default_model_name(request.source_tuned))
    watched = Watched(
        key=digest_of([subject.key, request.suite, request.model_name]),
        about=request.about,
        location=location,
        judge=lambda reference: judge(reference, subject, store),
        retry_after_s=retry_after_s,
    )
    this = PipelineRun(id=settings.run_id(), tracked=run.tracker.root_id)
    found = poll(store, watched, this, lambda release: outcome_in_mlflow(run.tracker, release), int(time.time()))
    _tell(found, run, request.releases, page)
    taken = found.ledger.releases.get(found.taken)
    return NewRelease(
        is_there=taken is not None,
        source_base=subject.source_base.source.reference,
        source_tuned=subject.source_tuned.source.reference,
        target_base=taken.reference if taken else "",
        ledger=watched.key,
        release=found.taken,
        superseded=taken is not None and superseded(found.ledger, found.taken),
        model_name=request.model_name,
    )


def _tell(found: PollResult, run: Step, releases: str, page: str) -> None:
    taken = found.ledger.releases.get(found.taken)
    content = markdown(found.ledger, found.names, releases)
    Path(page).write_text(content, encoding="utf-8")
    run.tracker.text(content, "releases.md")
    run.tracker.tags({"watch": releases, "release": taken.name if taken else "nothing new"})
    run.tracker.name_pipeline(f"watch: recycling onto {taken.name}" if taken else "watch: nothing new")
    problem = notify(found.events, releases=releases, run=settings.run_id()) if found.events else ""
    events = [f"{one['release']}: {one['happened']}, {one['reason']}" for one in found.events]
    skipped = [f"not looked at: {one}" for one in found.skipped]
    run.outcome.update(
        watch={
            "releases": releases,
            "taken": taken.name if taken else "",
            "attempt": taken.attempt if taken else 0,
            "counts": found.ledger.counts(found.names),
            "events": found.events,
            "skipped": found.skipped,
        },
        notes=[*events, *skipped, *filter(None, [problem])],
    )
    if taken is None:
        run.tracker.end_pipeline()
