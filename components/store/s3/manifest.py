"""The keys of a store in a bucket, and what stands where a manifest does: nothing, it, or the mark of a removal.

A manifest and a mark are written only where there is nothing, or in place of the version that was read: so of two who
write at once, one does.
"""

import uuid
from contextlib import suppress
from datetime import datetime
from typing import Literal

from components.checkpoints import MANIFEST
from components.s3 import Absent, AlreadyThere, Bucket

CHECKPOINTS, DIGESTS, RESULTS = "checkpoints/", "digests/", "results/"
"""Prefixes of the files and manifests, of the indexes, and of small documents."""
MARK = b'{"removed by": "recycle store gc", '
"""Begins what stands where the manifest would, while a draft is removed."""
MOST_WRITERS = 8
"""Writers of one manifest at the same moment: each try that another was faster than is one of them done."""


def id_of(location: Bucket) -> str:
    """The id of a checkpoint, as an index has it: the last part of its prefix."""
    return location.prefix.rsplit("/", 1)[-1]


def claim_manifest(location: Bucket, content: bytes) -> Literal["new", "shared", "removed"]:
    """Write a manifest where there is none, or in the place of another one.

    Returns:
        "new" where there was none, "shared" where an earlier try or another process that does the same work wrote one
        before, "removed" where `recycle store gc` is at work.
    """
    try:
        location.put(MANIFEST, content, new=True)
        return "new"
    except AlreadyThere:
        pass
    for _ in range(MOST_WRITERS):
        found = location.head(MANIFEST)  # before it is read, so that nothing that was not read is replaced
        there = read_manifest(location)
        if there == content:
            return "shared"
        if found is None or there is None or there.startswith(MARK):
            return "removed"
        with suppress(AlreadyThere, Absent):
            location.put(MANIFEST, content, replaces=found.etag)
            return "shared"
    return "removed"


def read_manifest(location: Bucket) -> bytes | None:
    """What stands where the manifest does, which may be the mark of a removal."""
    try:
        return location.get(MANIFEST)
    except Absent:
        return None


def is_published(location: Bucket) -> bool:
    """Whether there is a manifest, which may be damaged, and not the mark of a removal."""
    manifest = read_manifest(location)
    return manifest is not None and not manifest.startswith(MARK)


def is_marked_for_deletion(location: Bucket) -> bool:
    """Whether there is the mark of a removal, which goes on or was broken off."""
    manifest = read_manifest(location)
    return manifest is not None and manifest.startswith(MARK)


def remove_manifest(location: Bucket, content: bytes) -> None:
    """Remove a manifest, or a mark, of this content; what another wrote in its place stays."""
    found = location.head(MANIFEST)  # first: what is read then is this version, or a newer one that stays
    if found is not None and read_manifest(location) == content:
        location.delete(MANIFEST, etag=found.etag)


def mark_for_deletion(location: Bucket, before: datetime) -> bytes | None:
    """Put a mark, and return it if it is ours that is there now."""
    mark = MARK + f'"run": "{uuid.uuid4()}"}}\n'.encode()
    try:
        location.put(MANIFEST, mark, new=True)
        return mark
    except AlreadyThere:
        found = location.head(MANIFEST)  # before it is read, so that nothing that was not read is replaced
    # Of a `gc` that was killed so long ago that it is garbage itself. (A single object's time comes in whole seconds.)
    if found is not None and found.modified < before.replace(microsecond=0) and is_marked_for_deletion(location):
        with suppress(AlreadyThere, Absent):  # of two that take it over at once, one does
            location.put(MANIFEST, mark, replaces=found.etag)
    return mark if read_manifest(location) == mark else None  # also where the first answer was lost
