"""What a store in a bucket holds that no manifest names, or that has a manifest and no index names."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from components.checkpoints import Checkpoint, is_plain, or_none_if_damaged
from components.errors import RecycleError
from components.s3 import Absent, Bucket, Object
from components.sources import S3Source
from components.store.garbage import DIGEST, FILES, WORK, Garbage, is_gone, points_nowhere
from components.store.s3.manifest import CHECKPOINTS, DIGESTS, RESULTS, is_published
from components.store.s3.removal import (
    THREADS,
    Find,
    State,
    is_elsewhere,
    look,
    named,
    remove_draft,
    remove_index,
    remove_object,
    remove_unnamed,
    remove_upload,
    restore_index,
)
from components.store.s3.writer import NOTES
from components.system import thread_pool

DIGEST_BYTES = 64

log = logging.getLogger(__name__)


def s3_garbage(root: Bucket, find: Find, before: datetime) -> list[Garbage]:
    """What was last written before `before`.

    Times are the server's; it refuses a clock that differs from its own by more than 15 minutes.

    Args:
        root: of the store.
        find: the store's own, which raises for one that is damaged.
        before: a day ago, say; younger things may be part of work that goes on.
    """
    entries = root.objects()
    told = _uploads_told(root)
    keys = [*(entry.key for entry in entries), *told]
    names = sorted({key.split("/")[1] for key in keys if _is_in_place(key)})
    with thread_pool(THREADS, "garbage") as pool:
        states = list(pool.map(lambda name: look(root.under(f"{CHECKPOINTS}{name}"), _inside(name, told)), names))
        indexed = named(root)  # last: who publishes writes the manifest first
        lost = {location.uri: checkpoint for location, checkpoint in _with_lost_index(states, indexed, find, before)}
        others = [state for state in states if state.location.uri not in lost]
        found = [garbage for state in others for garbage in _in_place(root, state, indexed, find, before)]
        found += [_lost_index(root, checkpoint, find) for checkpoint in lost.values()]
        there = {checkpoint.digest: checkpoint for checkpoint in lost.values()}
        old = [entry for entry in entries if entry.modified < before]
        dead = pool.map(lambda entry: _is_dead(root, entry, lambda digest: there.get(digest) or find(digest)), old)
        return found + [_entry(root, entry, find) for entry, gone in zip(old, dead, strict=True) if gone]


def _is_in_place(key: str) -> bool:
    parts = key.split("/", 2)
    return key.startswith(CHECKPOINTS) and len(parts) == 3 and WORK.fullmatch(parts[1]) is not None


def _inside(name: str, keys: Iterable[str]) -> set[str]:
    start = f"{CHECKPOINTS}{name}/"
    return {key.removeprefix(start) for key in keys if key.startswith(start)}


def _uploads_told(root: Bucket) -> set[str]:
    """Keys of uploads that the server names without being asked for them, as far as it does."""
    try:
        return {upload.key for upload in root.incomplete()}
    except RecycleError as error:
        log.warning("uploads are looked for by their notes only: %s", error.problem)
        return set()


def _with_lost_index(
    states: Iterable[State], indexed: set[str], find: Find, before: datetime
) -> Iterator[tuple[Bucket, Checkpoint]]:
    """Published checkpoints that are nowhere else, and that no index names."""
    for state in states:
        if state.has_manifest and state.name not in indexed and state.is_older(before):
            checkpoint = or_none_if_damaged(lambda location=state.location: S3Source(location).manifest)  # type: ignore[misc]
            if checkpoint is not None and not is_elsewhere(checkpoint, find):
                yield state.location, checkpoint


def _lost_index(root: Bucket, checkpoint: Checkpoint, find: Find) -> Garbage:
    return Garbage(
        location=f"{root.uri}/{DIGESTS}{checkpoint.digest}",
        reason=f"index that does not name its checkpoint, {checkpoint.uri}, and is written again",
        size=0,
        modified=datetime.now(UTC),
        remove=lambda: restore_index(root, checkpoint, find),
    )


def _in_place(root: Bucket, state: State, indexed: set[str], find: Find, before: datetime) -> Iterator[Garbage]:
    published = state.has_manifest and is_published(state.location)
    if published and state.name in indexed:
        yield from _beside_manifest(state, before)
    elif state.all and state.is_older(before):
        told = {upload.key for upload in state.uploads}
        kind = (
            "checkpoint that no digest names, damaged or not the only one" if published else "draft that was broken off"
        )
        yield Garbage(
            location=f"{state.location.uri}/",
            reason=f"{kind}: {len(state.objects)} objects, {len(state.uploads)} uploads",
            size=sum(entry.size for entry in state.all),
            modified=max(entry.modified for entry in state.all),
            remove=lambda: (
                remove_unnamed(root, state.location, told, find, before)
                if published
                else remove_draft(state.location, told, before)
            ),
        )


def _beside_manifest(state: State, before: datetime) -> Iterator[Garbage]:
    """Notes and uploads of a checkpoint that is published, which nobody needs any more."""
    location = state.location
    for entry in state.objects:
        if entry.key.startswith(NOTES) and entry.modified < before:
            yield Garbage(
                location=f"{location.uri}/{entry.key}",
                reason="note of finished work",
                size=entry.size,
                modified=entry.modified,
                remove=lambda entry=entry: remove_object(location, entry),  # type: ignore[misc]
            )
    for upload in state.uploads:
        if upload.modified < before:
            yield Garbage(
                location=f"{location.uri}/{upload.key}",
                reason=f"upload that was broken off ({upload.id[:12]}…)",
                size=upload.size,
                modified=upload.modified,
                remove=lambda upload=upload: remove_upload(location, upload),  # type: ignore[misc]
            )


def _entry(root: Bucket, entry: Object, find: Find) -> Garbage:
    def is_dead() -> bool:
        return _is_dead(root, entry, find)

    def remove() -> bool:
        if entry.key.startswith(DIGESTS):
            return remove_index(root, entry, is_dead)
        return is_dead() and remove_object(root, entry)

    return Garbage(
        location=f"{root.uri}/{entry.key}",
        reason="points to what is gone",
        size=entry.size,
        modified=entry.modified,
        remove=remove,
    )


def _is_dead(root: Bucket, entry: Object, find: Find) -> bool:
    """Whether an entry that names a checkpoint, or a file of one, names one that is gone."""
    if entry.key.startswith(DIGESTS):
        digest = entry.key.removeprefix(DIGESTS)
        return DIGEST.fullmatch(digest) is not None and is_gone(digest, find)
    top, _, rest = entry.key.partition("/")
    kind, _, key = rest.partition("/")
    if f"{top}/" != RESULTS or not key or (kind != FILES and entry.size != DIGEST_BYTES):
        return False
    try:
        document = root.get(entry.key).decode("utf-8", "replace")
    except Absent:
        return False
    return points_nowhere(kind, document, find, lambda location: is_plain(location) and root.head(location) is not None)
