"""The checkpoint store in a bucket.

<root>/checkpoints/<id>/       the files; the manifest comes last and makes them a checkpoint
<root>/digests/<digest>        the id of the checkpoint of this content
<root>/results/<kind>/<key>    small documents that name finished work, so that it is not done twice

An id names the work that made the files, because their digest is known only when they are there. Objects cannot be
renamed, so a draft is written where it will stay, and is nothing until its manifest is there. The digest comes after
the manifest, and then one look whether `gc`, which looks the other way round, took the manifest meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from components import settings
from components.checkpoints import Checkpoint, decode_document
from components.errors import BadCheckpoint, OutputConflict
from components.s3 import Absent, AlreadyThere, Bucket, require_conditional_writes
from components.sources import FolderSource, S3Source
from components.store.base import Store
from components.store.copying import copy_files
from components.store.garbage import DIGEST, FILES, WORK, Garbage, unused_claims, unused_folders
from components.store.s3.garbage import s3_garbage
from components.store.s3.manifest import (
    CHECKPOINTS,
    DIGESTS,
    RESULTS,
    claim_manifest,
    id_of,
    is_marked_for_deletion,
    is_published,
    remove_manifest,
)
from components.store.s3.removal import remove_draft
from components.store.s3.writer import S3CheckpointWriter
from components.store.scratch import scratch_copy

INDEXED_BYTES = 1 << 20
"""Files as large as this are found again by their content."""


class S3Store(Store):
    """A store under a prefix of a bucket (see `components.store.Store`)."""

    def __init__(self, root: Bucket) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return self.root.uri

    @property
    def staging(self) -> Path:
        """A folder of this machine; what is large is written to the bucket directly."""
        return settings.home() / "staging"

    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it (see `Store.manifest`)."""
        name = self._read_text(f"{DIGESTS}{digest}")
        manifest = S3Source(self._location(name)).manifest if name else None
        return manifest if manifest and manifest.digest == digest else None

    def source_of(self, checkpoint: Checkpoint) -> S3Source:
        """The prefix of a checkpoint."""
        return S3Source.at(checkpoint.uri)

    @contextmanager
    def local(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """A verified copy of a checkpoint's files in a scratch folder (see `Store.local`)."""
        source = self.source(checkpoint)
        if source is None:
            raise checkpoint.missing_error()
        folder = settings.home() / "scratch" / checkpoint.digest
        with scratch_copy(checkpoint, source, folder):
            yield folder

    def writer(self, workdir: Path) -> S3CheckpointWriter:
        """Write a checkpoint under a prefix that the work's name gives (see `Store.writer`)."""
        return self._writer(workdir.name)

    def publish(self, checkpoint: Checkpoint) -> Checkpoint:
        """Give what was written a manifest and an index; the files of a folder are uploaded (see `Store.publish`)."""
        if checkpoint.uri.startswith(f"{self.uri}/"):
            return self._publish(self._writer_at(Bucket.at(checkpoint.uri)), checkpoint)
        found = self.find_complete(checkpoint.digest)
        if found is not None:
            return found
        writer = self._writer(f"content-{checkpoint.digest}")
        copy_files(FolderSource.at(checkpoint.uri), checkpoint.source_files, writer)
        return self._publish(writer, checkpoint.moved_to(writer.location.uri))

    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        self.root.put(f"{RESULTS}{kind}/{key}", document.encode())

    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old` (see `Store.compare_and_swap`)."""
        require_conditional_writes(self.root)
        object_key = f"{RESULTS}{kind}/{key}"
        found = self.root.head(object_key)  # before it is read, so that nothing that was not read is replaced
        if self._read_text(object_key) != old or (found is None) != (old is None):
            return False
        try:
            self.root.put(object_key, new.encode(), new=found is None, replaces=found.etag if found else None)
        except (AlreadyThere, Absent):
            return self._read_text(object_key) == new
        return True

    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had."""
        keys = (entry.key.removeprefix(DIGESTS) for entry in self.root.objects(DIGESTS))
        return [key for key in keys if DIGEST.fullmatch(key)]

    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use, here and on this machine."""
        scratch = settings.home() / "scratch"
        return [
            *s3_garbage(self.root, self.manifest, before),
            *unused_folders(self.staging, WORK, "work that was broken off", before),
            *unused_folders(scratch, DIGEST, "local copy that was broken off", before),
            *unused_claims(self.staging, before),
            *unused_claims(scratch, before),
        ]

    def _publish(self, draft: S3CheckpointWriter, checkpoint: Checkpoint) -> Checkpoint:
        self._write_manifest(draft.location, checkpoint)
        winner = self._claim_digest(checkpoint)
        if winner.uri != checkpoint.uri:
            # Another with this content is there already; all that is left of this one are files that the other lost.
            self._restore(winner, draft)
            remove_manifest(draft.location, checkpoint.to_json())  # first: without it the rest is no checkpoint
            draft.tidy()
            remove_draft(draft.location, (), datetime.max.replace(tzinfo=UTC))
            return winner
        if not is_published(draft.location):  # `gc` took the manifest before it could see the index
            raise _taken_for_garbage(checkpoint)
        draft.tidy()
        for file in checkpoint.files:
            if file.size >= INDEXED_BYTES:
                self.put(FILES, file.sha256, f"{CHECKPOINTS}{id_of(draft.location)}/{file.path}")
        return checkpoint

    def _write_manifest(self, location: Bucket, checkpoint: Checkpoint) -> None:
        """Make a draft a checkpoint, if all of its files are there."""
        content = checkpoint.to_json()
        match claim_manifest(location, content):
            case "removed":
                raise _taken_for_garbage(checkpoint)
            case "shared":  # another process relies on this manifest: it stays, whatever is missing
                S3Source(location).files()
            case "new":
                try:
                    S3Source(location).files()
                except BadCheckpoint:
                    remove_manifest(location, content)
                    raise

    def _claim_digest(self, checkpoint: Checkpoint) -> Checkpoint:
        """Write the index of a checkpoint, unless it names another one that is there: then return that one."""
        index, name = f"{DIGESTS}{checkpoint.digest}", id_of(Bucket.at(checkpoint.uri)).encode()
        try:
            self.root.put(index, name, new=True)
        except AlreadyThere:
            other = self.find(checkpoint.digest)
            if other is not None and other.uri != checkpoint.uri:
                return other
            self.root.put(index, name)  # it named a checkpoint that is gone, or this one
        return checkpoint

    def _restore(self, damaged: Checkpoint, draft: S3CheckpointWriter) -> None:
        """Give a checkpoint back the files that it lost, from a draft of the same content."""
        location = Bucket.at(damaged.uri)
        sizes = {entry.key: entry.size for entry in location.objects()}
        for file in damaged.files:
            if sizes.get(file.path) != file.size:
                key = f"{CHECKPOINTS}{id_of(draft.location)}/{file.path}"
                restored = S3CheckpointWriter(location, self.root, lambda sha256, key=key: key)  # type: ignore[misc]
                restored.adopt(file.path, file.size, file.sha256)
                restored.tidy()
        S3Source(location).files()

    def _writer(self, work: str) -> S3CheckpointWriter:
        require_conditional_writes(self.root)
        name = work
        while is_marked_for_deletion(self._location(name)):  # by a `gc` that goes on, or was killed
            name = f"again-{name}"
        return self._writer_at(self._location(name))

    def _writer_at(self, location: Bucket) -> S3CheckpointWriter:
        return S3CheckpointWriter(location, self.root, lambda sha256: self.get(FILES, sha256))

    def _location(self, name: str) -> Bucket:
        return self.root.under(f"{CHECKPOINTS}{name}")

    def _read(self, kind: str, key: str) -> str | None:
        return self._read_text(f"{RESULTS}{kind}/{key}")

    def _read_text(self, key: str) -> str | None:
        try:
            return decode_document(self.root.get(key), f"{self.root.uri}/{key}")
        except Absent:
            return None


def _taken_for_garbage(checkpoint: Checkpoint) -> OutputConflict:
    return OutputConflict(
        f"the unfinished {checkpoint.name} at {checkpoint.uri} was just taken for garbage and removed",
        hint="run the same command again: it begins anew, elsewhere if `recycle store gc` still holds this prefix",
    )
