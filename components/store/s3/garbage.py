"""What a store in a bucket holds that no manifest names, or that has a manifest and no index names."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from components.checkpoints import Checkpoint, is_plain, or_none_if_damaged
from components.errors import RecycleError
from components.s3 import Absent, Bucket, Object
from components.sources import S3Source
from components.store.garbage import DIGEST, FILES, WORK, Garbage, is_gone, points_nowhere
from components.store.s3.manifest import CHECKPOINTS, DIGESTS, RESULTS, is_published
from components.store.s3.removal import (
    THREADS,
    Find,
    PrefixContents,
    indexed_ids,
    is_elsewhere,
    read_contents,
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a store holds, read in an order in which nobody who publishes meanwhile looks like garbage."""

    contents: tuple[PrefixContents, ...]
    """What lies under each prefix of a draft or a checkpoint."""
    indexed: frozenset[str]
    """Ids of checkpoints that an index names."""
    published: frozenset[str]
    """Ids under which there is a manifest, which may be damaged."""
    only_copies: dict[str, Checkpoint]
    """Published long ago, by id: no index names them, and their content is nowhere else."""
    pointing_nowhere: tuple[Object, ...]
    """Indexes and documents, written long ago, of what is gone."""


def s3_garbage(root: Bucket, find: Find, before: datetime) -> list[Garbage]:
    """What a store in a bucket holds that nobody needs, and that was last written before `before`.

    Times are the server's; it refuses a clock that differs from its own by more than 15 minutes.

    Args:
        root: The store's prefix.
        find: The store's `manifest`, which raises for a checkpoint that is damaged.
        before: A day ago, say; younger things may be part of work that goes on.
    """
    store = _read_store(root, find, before)
    found = [item for contents in store.contents for item in _garbage_of(root, contents, store, find, before)]
    return found + [_pointing_nowhere(root, entry, find) for entry in store.pointing_nowhere]


def _read_store(root: Bucket, find: Find, before: datetime) -> Snapshot:
    entries, uploads = root.objects(), _upload_keys(root)
    keys = [*(entry.key for entry in entries), *uploads]
    ids = sorted({key.split("/")[1] for key in keys if _is_below_work(key)})

    def read(name: str) -> PrefixContents:
        start = f"{CHECKPOINTS}{name}/"
        inside = {key.removeprefix(start) for key in uploads if key.startswith(start)}
        return read_contents(root.under(f"{CHECKPOINTS}{name}"), inside)

    with thread_pool(THREADS, "garbage") as pool:
        contents = tuple(pool.map(read, ids))
        indexed = indexed_ids(root)  # after the manifests: who publishes writes the manifest first
        with_manifest = [one for one in contents if one.has_manifest]
        is_there = pool.map(lambda one: is_published(one.location), with_manifest)
        published = frozenset(one.id for one, there in zip(with_manifest, is_there, strict=True) if there)
        unnamed = [one for one in with_manifest if one.id not in indexed and one.is_older(before)]
        only_copies = {one.id: checkpoint for one in unnamed if (checkpoint := _only_copy(one, find))}
        there = {checkpoint.digest: checkpoint for checkpoint in only_copies.values()}
        old = [entry for entry in entries if entry.modified < before]
        dead = pool.map(lambda entry: _is_dead(root, entry, lambda digest: there.get(digest) or find(digest)), old)
        pointing_nowhere = tuple(entry for entry, gone in zip(old, dead, strict=True) if gone)
    return Snapshot(
        contents=contents,
        indexed=indexed,
        published=published,
        only_copies=only_copies,
        pointing_nowhere=pointing_nowhere,
    )


def classify(
    contents: PrefixContents, store: Snapshot, before: datetime
) -> Literal["published", "without index", "unnamed", "draft", "in use"]:
    """What a prefix is: a checkpoint, one whose index was lost, one that nobody can find, or a draft that is old."""
    if contents.id in store.only_copies:
        return "without index"
    if contents.id in store.published and contents.id in store.indexed:
        return "published"
    if not contents.all or not contents.is_older(before):
        return "in use"
    return "unnamed" if contents.id in store.published else "draft"


def _garbage_of(
    root: Bucket, contents: PrefixContents, store: Snapshot, find: Find, before: datetime
) -> Iterator[Garbage]:
    location, keys = contents.location, {upload.key for upload in contents.uploads}
    match classify(contents, store, before):
        case "published":
            yield from _beside_manifest(contents, before)
        case "without index":
            yield _lost_index(root, store.only_copies[contents.id], find)
        case "unnamed":
            reason = "checkpoint that no digest names, damaged or not the only one"
            yield _all_of(contents, reason, partial(remove_unnamed, root, location, keys, find, before))
        case "draft":
            yield _all_of(contents, "draft that was broken off", partial(remove_draft, location, keys, before))
        case "in use":
            pass


def _is_below_work(key: str) -> bool:
    parts = key.split("/", 2)
    return key.startswith(CHECKPOINTS) and len(parts) == 3 and WORK.fullmatch(parts[1]) is not None


def _upload_keys(root: Bucket) -> set[str]:
    """Keys of uploads that the server names without being asked for them, as far as it does."""
    try:
        return {upload.key for upload in root.incomplete()}
    except RecycleError as error:
        logger.warning("uploads are looked for by their notes only: %s", error.problem)
        return set()


def _only_copy(contents: PrefixContents, find: Find) -> Checkpoint | None:
    """The checkpoint of a sound manifest, unless the store has its content elsewhere."""
    checkpoint = or_none_if_damaged(lambda: S3Source(contents.location).manifest)
    return checkpoint if checkpoint is not None and not is_elsewhere(checkpoint, find) else None


def _all_of(contents: PrefixContents, kind: str, remove: Callable[[], bool]) -> Garbage:
    return Garbage(
        location=f"{contents.location.uri}/",
        reason=f"{kind}: {len(contents.objects)} objects, {len(contents.uploads)} uploads",
        size=sum(entry.size for entry in contents.all),
        modified=max(entry.modified for entry in contents.all),
        remove=remove,
    )


def _lost_index(root: Bucket, checkpoint: Checkpoint, find: Find) -> Garbage:
    return Garbage(
        location=f"{root.uri}/{DIGESTS}{checkpoint.digest}",
        reason=f"index that does not name its checkpoint, {checkpoint.uri}, and is written again",
        size=0,
        modified=datetime.now(UTC),
        remove=lambda: restore_index(root, checkpoint, find),
    )


def _beside_manifest(contents: PrefixContents, before: datetime) -> Iterator[Garbage]:
    """Notes and uploads beside the manifest of a checkpoint, which nobody needs once it is published."""
    location = contents.location
    for entry in contents.objects:
        if entry.key.startswith(NOTES) and entry.modified < before:
            yield Garbage(
                location=f"{location.uri}/{entry.key}",
                reason="note of finished work",
                size=entry.size,
                modified=entry.modified,
                remove=lambda entry=entry: remove_object(location, entry),  # type: ignore[misc]
            )
    for upload in contents.uploads:
        if upload.modified < before:
            yield Garbage(
                location=f"{location.uri}/{upload.key}",
                reason=f"upload that was broken off ({upload.id[:12]}…)",
                size=upload.size,
                modified=upload.modified,
                remove=lambda upload=upload: remove_upload(location, upload),  # type: ignore[misc]
            )


def _pointing_nowhere(root: Bucket, entry: Object, find: Find) -> Garbage:
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
