"""The watch step between its parameters and its artifact."""

import time
from collections.abc import Callable
from pathlib import Path

from components import settings
from components.checkpoints import digest_of
from components.definitions import find_named
from components.errors import BadParameter
from components.references import DEMO_PREFIX
from components.store import open_store
from components.tracking import BROKEN_OFF, Step, Tracker, mlflow_errors
from components.transfer import check_policy, parse_scale
from components.watch import Release, markdown, notify, open_place, outranked, parse_duration
from components.watch.judge import Subject, judge, open_subject
from components.watch.tick import Heard, Run, Tick, tick

SETTLING_S = 600
"""What passes between the end of a pipeline's MLflow run, which `register` tells, and the end of `record-release`."""
RETRYING_S = 600
"""What passes at most until a cluster tries a step again, which opens its run in MLflow again."""

Watched = tuple[bool, str, str, str, str, str, bool]


def watch_into(
    table: str,
    run: Step,
    *,
    releases: str,
    source_base: str,
    source_tuned: str,
    scale: str,
    dtype: str,
    suite: str,
    model_name: str,
    retry_after: str,
) -> Watched:
    """Do one tick, tell what it found, and write the table of what was seen.

    Returns:
        Whether there is something to recycle; then the three references, pinned, the keys by which
        `record-release` finds the ledger and the release in it, and whether a newer release is done and passed,
        whose aliases are to stay.
    """
    check_watch(releases=releases, source_base=source_base, source_tuned=source_tuned, suite=suite)
    check_policy(dtype)
    wait_s, rule, place, store = parse_duration(retry_after), parse_scale(scale), open_place(releases), open_store()
    subject = open_subject(source_base=source_base, source_tuned=source_tuned, scale=rule, dtype=dtype, store=store)
    key = digest_of([subject.key, suite, model_name])
    found = tick(
        store=store,
        key=key,
        about={
            "source base": source_base,
            "source fine-tuned": source_tuned,
            "scale": scale,
            "dtype": dtype,
            "suite": suite,
            "model name": model_name,
        },
        place=place,
        look=lambda reference: judge(reference, subject, store),
        run=Run(id=settings.run_id(), tracked=run.tracker.parent_id),
        ended=_ended(run.tracker),
        retry_after_s=wait_s,
        now=int(time.time()),
    )
    _tell(found, run, releases, table)
    return _outputs(found, subject, key)


def check_watch(*, releases: str, source_base: str, source_tuned: str, suite: str) -> None:
    """Refuse parameters that cannot be meant so.

    Raises:
        BadParameter: one of them.
        BadReference: `releases` is no address in a bucket.
    """
    open_place(releases)
    find_named("evaluation suite", suite)
    given = {"releases": releases, "source_base": source_base, "source_tuned": source_tuned}
    missing = [name for name, value in given.items() if not value]
    demo = [name for name, value in given.items() if value.startswith(DEMO_PREFIX)]
    if missing or 0 < len(demo) < len(given):
        wrong = f"{' and '.join(missing)} not given" if missing else f"only {' and '.join(demo)} of the demo world"
        raise BadParameter(wrong, hint=f"set {', '.join(given)} together")


def _ended(tracker: Tracker) -> Callable[[Release], Heard]:
    """Tells of an attempt whether and why it is over, by its run in MLflow."""

    def ended(release: Release) -> Heard:
        from mlflow.exceptions import MlflowException

        if not release.tracked:
            return Heard()
        with mlflow_errors():
            try:
                run = tracker.client.get_run(release.tracked)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return Heard()  # another server, or deleted
                raise
        if run.info.lifecycle_stage == "deleted":
            return Heard()
        status, now = run.info.status, time.time()
        over_s = now - (run.info.end_time or 0) / 1000
        is_retried = now - release.since < RETRYING_S or (status == "KILLED" and over_s < RETRYING_S)
        if status in BROKEN_OFF and not is_retried:
            return Heard(over=str(run.data.tags.get("failure") or f"broken off: its run in MLflow is {status}"))
        if status == "FINISHED" and over_s > SETTLING_S:
            return Heard(over="broken off after it was registered")
        return Heard(goes_on=True)

    return ended


def _tell(found: Tick, run: Step, releases: str, table: str) -> None:
    counts = found.ledger.counts(found.names)
    taken = found.ledger.releases.get(found.taken)
    page = markdown(found.ledger, found.names, releases)
    Path(table).write_text(page, encoding="utf-8")
    run.tracker.text(page, "releases.md")
    run.tracker.tags({"watch": releases, "release": taken.name if taken else "nothing new"})
    problem = notify(found.events, releases=releases, run=settings.run_id()) if found.events else ""
    told = [f"{one['release']}: {one['happened']}, {one['reason']}" for one in found.events]
    skipped = [f"not looked at: {one}" for one in found.skipped]
    run.outcome.update(
        watch={
            "releases": releases,
            "taken": taken.name if taken else "",
            "attempt": taken.attempt if taken else 0,
            "counts": counts,
            "events": found.events,
            "skipped": found.skipped,
        },
        notes=[*told, *skipped, *filter(None, [problem])],
    )
    if taken is None:
        run.tracker.end_pipeline()


def _outputs(found: Tick, subject: Subject, key: str) -> Watched:
    taken = found.ledger.releases.get(found.taken)
    references = subject.source_base.source.reference, subject.source_tuned.source.reference
    is_late = taken is not None and outranked(found.ledger, found.taken)
    return taken is not None, *references, taken.reference if taken else "", key, found.taken, is_late
