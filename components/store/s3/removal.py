"""Removing from a bucket what somebody may take up, or publish, at the same moment.

A draft is claimed before it is removed: a mark takes the place of its manifest, and both are written only where there
is none. So either a draft is published, and stays, or it is removed, and cannot be published meanwhile. (A mark whose
`gc` was killed stays until a later one ends what it began; work that finds it goes on under another prefix.)

What has a manifest or is an index itself is removed first and looked at again then: whoever publishes writes the
manifest, then the index, and then looks for the manifest, so that one of the two sees the other.

A checkpoint that no index names is removed only where the store has the same content under another prefix, complete.
Otherwise it is its index that was lost, and that is written again.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from components.checkpoints import MANIFEST, Checkpoint, is_plain, or_none_if_damaged
from components.errors import BadCheckpoint
from components.s3 import SMALLEST_PART, Absent, AlreadyThere, Bucket, Object, Upload
from components.sources import S3Source
from components.store.s3.manifest import (
    CHECKPOINTS,
    DIGESTS,
    id_of,
    is_published,
    mark_for_deletion,
    read_manifest,
    remove_manifest,
)
from components.store.s3.writer import NOTES
from components.system import thread_pool

THREADS = 16
"""Requests at once; most of each is waiting."""

Find = Callable[[str], Checkpoint | None]


@dataclass(frozen=True, kw_only=True)
class PrefixContents:
    """What lies under the prefix where one piece of work writes its checkpoint."""

    location: Bucket
    objects: tuple[Object, ...]
    uploads: tuple[Upload, ...]

    @property
    def id(self) -> str:
        """The name of the work, which an index names its checkpoint by."""
        return id_of(self.location)

    @property
    def has_manifest(self) -> bool:
        """Whether there was a manifest, or the mark of a removal in its place."""
        return any(entry.key == MANIFEST for entry in self.objects)

    def without(self, key: str) -> "PrefixContents":
        """All but one object."""
        return PrefixContents(
            location=self.location,
            objects=tuple(entry for entry in self.objects if entry.key != key),
            uploads=self.uploads,
        )

    @property
    def all(self) -> tuple[Object | Upload, ...]:
        """Objects and uploads."""
        return *self.objects, *self.uploads

    def is_older(self, before: datetime) -> bool:
        """Whether nothing was written since a moment."""
        return all(entry.modified < before for entry in self.all)


def read_contents(location: Bucket, upload_keys: Collection[str] = ()) -> PrefixContents:
    """Read what lies under a prefix.

    Args:
        location: The prefix of a draft or a checkpoint.
        upload_keys: Keys below it of uploads that are known of.
    """
    objects = location.objects()
    notes = {
        entry.key.removeprefix(NOTES).removesuffix(".upload")
        for entry in objects
        if entry.key.startswith(NOTES) and entry.key.endswith(".upload")
    }
    large = {entry.key for entry in objects if entry.size > SMALLEST_PART}
    keys = sorted(key for key in {*notes, *large, *upload_keys} if is_plain(key))
    return PrefixContents(
        location=location, objects=objects, uploads=tuple(upload for key in keys for upload in location.incomplete(key))
    )


def indexed_ids(root: Bucket) -> frozenset[str]:
    """The ids of all checkpoints that an index of the store at `root` names."""

    def read(entry: Object) -> str:
        with suppress(Absent):
            return root.get(entry.key).decode("utf-8", "replace")
        return ""

    with thread_pool(THREADS, "indexes") as pool:
        return frozenset(pool.map(read, root.objects(DIGESTS)))


def remove_draft(location: Bucket, upload_keys: Collection[str], before: datetime) -> bool:
    """Remove what lies under a prefix without a manifest, unless it was written to since `before`.

    Args:
        location: The prefix of the draft.
        upload_keys: Keys below it of uploads that are known of.
        before: A moment.

    Returns:
        Whether it was removed.
    """
    mark = mark_for_deletion(location, before)
    if mark is None:
        return False
    try:
        state = read_contents(location, upload_keys).without(MANIFEST)
        if not state.is_older(before):
            return False
        for upload in state.uploads:
            location.abort_upload(upload.key, upload.id)
        for entry in state.objects:
            location.delete(entry.key)
        return True
    finally:
        remove_manifest(location, mark)


def remove_unnamed(root: Bucket, location: Bucket, upload_keys: Collection[str], find: Find, before: datetime) -> bool:
    """Remove a checkpoint that no index names, and that is damaged or not the only one (see `remove_draft`)."""
    state, content = read_contents(location, upload_keys), read_manifest(location)
    checkpoint = or_none_if_damaged(lambda: S3Source(location).manifest)

    def is_needed() -> bool:
        return state.id in indexed_ids(root) or (checkpoint is not None and not is_elsewhere(checkpoint, find))

    if content is None or not state.is_older(before) or is_needed():
        return False
    remove_manifest(location, content)
    if is_needed():
        with suppress(AlreadyThere):
            location.put(MANIFEST, content, new=True)
        return False
    return remove_draft(location, upload_keys, before)


def remove_index(root: Bucket, entry: Object, is_dead: Callable[[], bool]) -> bool:
    """Remove the index of a checkpoint that is gone, unless that is published at this moment."""
    if not (is_dead() and remove_object(root, entry)):
        return False
    digest, known = entry.key.removeprefix(DIGESTS), indexed_ids(root)
    for name in _with_manifest(root) - known:
        with suppress(BadCheckpoint):
            manifest = S3Source(root.under(f"{CHECKPOINTS}{name}")).manifest
            if manifest is not None and manifest.digest == digest:
                with suppress(AlreadyThere):
                    root.put(entry.key, name.encode(), new=True)
                return False
    return True


def is_elsewhere(checkpoint: Checkpoint, find: Find) -> bool:
    """Whether the store has the content of a checkpoint under another prefix too, complete."""
    found = or_none_if_damaged(lambda: find(checkpoint.digest))
    if found is None or found.uri == checkpoint.uri:
        return False
    return or_none_if_damaged(S3Source(Bucket.at(found.uri)).files) is not None


def restore_index(root: Bucket, checkpoint: Checkpoint, find: Find) -> bool:
    """Write the index of a checkpoint again that was damaged or lost, unless somebody else did meanwhile."""
    key, location = f"{DIGESTS}{checkpoint.digest}", Bucket.at(checkpoint.uri)
    lost = root.head(key)
    if not is_published(location) or id_of(location) in indexed_ids(root) or is_elsewhere(checkpoint, find):
        return False
    with suppress(AlreadyThere, Absent):
        root.put(key, id_of(location).encode(), new=lost is None, replaces=lost.etag if lost else None)
        return True
    return False


def remove_object(root: Bucket, entry: Object) -> bool:
    """Remove an object, unless it is another one by now."""
    found = root.head(entry.key)
    if found is None or (found.etag, found.size) != (entry.etag, entry.size):
        return False
    root.delete(entry.key, etag=entry.etag)
    return True


def remove_upload(location: Bucket, upload: Upload) -> bool:
    """Remove an upload, unless it went on."""
    if upload not in location.incomplete(upload.key):
        return False
    location.abort_upload(upload.key, upload.id)
    return True


def _with_manifest(root: Bucket) -> set[str]:
    keys = (entry.key.split("/") for entry in root.objects(CHECKPOINTS))
    return {parts[1] for parts in keys if len(parts) == 3 and parts[2] == MANIFEST}
