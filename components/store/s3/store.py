"""The checkpoint store in a bucket.

<root>/checkpoints/<id>/       the files; the manifest comes last and makes them a checkpoint
<root>/digests/<digest>        the id of the checkpoint of this content
<root>/results/<kind>/<key>    small documents that name finished work, so that it is not done twice

An id names the work that made the files, because their digest is known only when they are there. Objects cannot be
renamed, so a draft is written where it will stay, and is nothing until its manifest is there. The digest comes after
the manifest, and then one look whether `gc`, which looks the other way round, took the manifest meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from components import settings
from components.checkpoints import MANIFEST, Checkpoint, or_none_if_damaged, text_of
from components.errors import BadCheckpoint, OutputConflict
from components.s3 import Absent, AlreadyThere, Bucket, require_conditional_writes
from components.sources import FolderSource, S3Source
from components.store.copying import copy_files
from components.store.garbage import DIGEST, WORK, Garbage, unused_claims, unused_folders
from components.store.s3.garbage import s3_garbage
from components.store.s3.removal import (
    MARK,
    is_marked_for_deletion,
    is_published,
    read_manifest,
    remove_draft,
    remove_manifest,
)
from components.store.s3.writer import S3CheckpointWriter
from components.store.scratch import scratch_copy
from components.system import get_or_create

Result = TypeVar("Result")

MOST_WRITERS = 8
"""Of one manifest at the same moment; each try that another was faster than is one of them done."""
INDEXED_BYTES = 1 << 20
"""Files as large as this are found again by their content."""


class S3Store:
    """A store under a prefix of a bucket (see `components.store.Store`)."""

    def __init__(self, root: Bucket) -> None:
        self.root = root
        self._writers: dict[str, S3CheckpointWriter] = {}
        """By the name of their work."""

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return self.root.uri

    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it.

        Raises:
            BadCheckpoint: it, or what says where it lies, is damaged.
        """
        name = self._read(f"digests/{digest}")
        manifest = S3Source(self._location(name)).manifest if name else None
        return manifest if manifest and manifest.digest == digest else None

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it; one whose manifest is damaged is made again."""
        return or_none_if_damaged(lambda: self.manifest(digest))

    def find_complete(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has all of its files in their sizes."""
        found = self.find(digest)
        listed = or_none_if_damaged(S3Source(Bucket.at(found.uri)).files) if found else None
        return found if listed else None

    def source(self, checkpoint: Checkpoint) -> S3Source | None:
        """Where a checkpoint's files can be read, None where the store does not have them."""
        found = self.find(checkpoint.digest)
        return S3Source(Bucket.at(found.uri)) if found else None

    def get_or_create(self, key: str, find: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find work that was done before, or do it in a folder of this machine (see `system.get_or_create`).

        Another machine may do the same at the same time: publishing sees to it that one result stands.
        """
        return get_or_create(settings.home() / "staging" / key, find, make)

    def writer(self, work: Path) -> S3CheckpointWriter:
        """A draft for the work that has the folder `work` from `get_or_create`."""
        return self._open(work.name)

    def publish(self, work: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the draft of `work` visible under its digest; of several with one content, the first stands.

        Raises:
            BadCheckpoint: a file that the manifest lists is not there.
            OutputConflict: the draft was taken for garbage meanwhile.
        """
        return self._publish(self._writers.get(work.name) or self._open(work.name), checkpoint)

    def _publish(self, writer: S3CheckpointWriter, checkpoint: Checkpoint) -> Checkpoint:
        checkpoint = checkpoint.model_copy(update={"uri": writer.location.uri})
        index = f"digests/{checkpoint.digest}"
        self._write_manifest(writer.location, checkpoint)
        name = _name(writer.location)
        try:
            self.root.put(index, name.encode(), new=True)
        except AlreadyThere:
            other = self.find(checkpoint.digest)
            if other is not None and other.uri != checkpoint.uri:
                self._restore(other, writer)
                remove_manifest(writer.location, checkpoint.to_json())  # first: without it the rest is no checkpoint
                writer.tidy()
                remove_draft(writer.location, (), datetime.max.replace(tzinfo=UTC))
                return other
            self.root.put(index, name.encode())  # it named a checkpoint that is gone, or this one
        if not is_published(writer.location):
            raise _taken(checkpoint)
        writer.tidy()
        for file in checkpoint.files:
            if file.size >= INDEXED_BYTES:
                self.put("files", file.sha256, f"checkpoints/{name}/{file.path}")
        return checkpoint

    def _write_manifest(self, location: Bucket, checkpoint: Checkpoint) -> None:
        content = checkpoint.to_json()
        try:
            location.put(MANIFEST, content, new=True)
        except AlreadyThere:
            self._replace_manifest(location, checkpoint, content)
            S3Source(location).files()
            return
        try:
            S3Source(location).files()
        except BadCheckpoint:
            remove_manifest(location, content)
            raise

    def _replace_manifest(self, location: Bucket, checkpoint: Checkpoint, content: bytes) -> None:
        """Take the place of the manifest of an earlier try, or of another that did the same, never of a mark."""
        for _ in range(MOST_WRITERS):
            found = location.head(MANIFEST)  # before it is read, so that nothing that was not read is replaced
            there = read_manifest(location)
            if there == content:
                return
            if found is None or there is None or there.startswith(MARK):
                break
            with suppress(AlreadyThere, Absent):
                location.put(MANIFEST, content, replaces=found.etag)
                return
        raise _taken(checkpoint)

    def _restore(self, damaged: Checkpoint, writer: S3CheckpointWriter) -> None:
        """Give a checkpoint back the files that it lost, from a draft of the same content."""
        location = Bucket.at(damaged.uri)
        sizes = {entry.key: entry.size for entry in location.objects()}
        for file in damaged.files:
            if sizes.get(file.path) != file.size:
                key = f"checkpoints/{_name(writer.location)}/{file.path}"
                restored = S3CheckpointWriter(location, self.root, lambda sha256, key=key: key)  # type: ignore[misc]
                restored.adopt(file.path, file.size, file.sha256)
                restored.tidy()
        S3Source(location).files()

    def publish_folder(self, folder: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Upload the files of a folder and make them visible under their digest."""
        found = self.find_complete(checkpoint.digest)
        if found is not None:
            return found
        writer = self._open(f"content-{checkpoint.digest}")
        copy_files(FolderSource(path=folder), checkpoint.source_files, writer)
        return self._publish(writer, checkpoint)

    @contextmanager
    def local(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """A verified copy of a checkpoint's files in a scratch folder, for programs that need them there.

        Raises:
            StorageFull: there is not enough room for it.
            BadReference: the store does not have them.
        """
        source = self.source(checkpoint)
        if source is None:
            raise checkpoint.missing_error()
        folder = settings.home() / "scratch" / checkpoint.digest
        with scratch_copy(checkpoint, source, folder):
            yield folder

    def get(self, kind: str, key: str) -> str | None:
        """What `put` kept."""
        return or_none_if_damaged(lambda: self._read(f"results/{kind}/{key}"))

    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        self.root.put(f"results/{kind}/{key}", document.encode())

    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old` (see `components.store.Store`)."""
        require_conditional_writes(self.root)
        location = f"results/{kind}/{key}"
        found = self.root.head(location)  # before it is read, so that nothing that was not read is replaced
        if self._read(location) != old or (found is None) != (old is None):
            return False
        try:
            self.root.put(location, new.encode(), new=found is None, replaces=found.etag if found else None)
        except (AlreadyThere, Absent):
            return self._read(location) == new
        return True

    def get_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was remembered, if it is still there, whole."""
        digest = self.get(kind, key)
        return self.find_complete(digest) if digest and DIGEST.fullmatch(digest) else None

    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had."""
        keys = (entry.key.removeprefix("digests/") for entry in self.root.objects("digests/"))
        return [key for key in keys if DIGEST.fullmatch(key)]

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint of the store but those whose manifest is damaged."""
        return [found for digest in self.digests() if (found := self.find(digest))]

    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use, here and on this machine."""
        staging, scratch = settings.home() / "staging", settings.home() / "scratch"
        return [
            *s3_garbage(self.root, self.manifest, before),
            *unused_folders(staging, WORK, "work that was broken off", before),
            *unused_folders(scratch, DIGEST, "local copy that was broken off", before),
            *unused_claims(staging, before),
            *unused_claims(scratch, before),
        ]

    def _open(self, work: str) -> S3CheckpointWriter:
        require_conditional_writes(self.root)
        name = work
        while is_marked_for_deletion(self._location(name)):  # by a `gc` that goes on, or was killed
            name = f"again-{name}"
        self._writers[work] = S3CheckpointWriter(
            self._location(name), self.root, lambda sha256: self.get("files", sha256)
        )
        return self._writers[work]

    def _location(self, name: str) -> Bucket:
        return self.root.under(f"checkpoints/{name}")

    def _read(self, key: str) -> str | None:
        try:
            return text_of(self.root.get(key), f"{self.root.uri}/{key}")
        except Absent:
            return None


def _name(location: Bucket) -> str:
    return location.prefix.rsplit("/", 1)[-1]


def _taken(checkpoint: Checkpoint) -> OutputConflict:
    return OutputConflict(
        f"the unfinished {checkpoint.name} at {checkpoint.uri} was just taken for garbage and removed",
        hint="run the same command again: it begins anew, in another place if `recycle store gc` still holds this one",
    )
