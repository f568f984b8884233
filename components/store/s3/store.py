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
from components.checkpoints import MANIFEST, Checkpoint, text_of, unless_damaged
from components.errors import BadCheckpoint, OutputConflict
from components.s3 import Absent, AlreadyThere, Bucket, require_conditional_writes
from components.sources import FolderSource, S3Source
from components.store.copying import copy_files
from components.store.garbage import DIGEST, WORK, Garbage, unused_claims, unused_folders
from components.store.s3.garbage import s3_garbage
from components.store.s3.removal import MARK, is_condemned, is_published, read_manifest, remove_draft, withdraw
from components.store.s3.writer import S3Draft
from components.store.scratch import scratch_copy
from components.system import once

Result = TypeVar("Result")

MOST_WRITERS = 8
"""Of one manifest at the same moment; each try that another was faster than is one of them done."""
INDEXED_BYTES = 1 << 20
"""Files as large as this are found again by their content."""


class S3Store:
    """A store under a prefix of a bucket (see `components.store.store.store.Store`)."""

    def __init__(self, root: Bucket) -> None:
        self.root = root
        self._drafts: dict[str, S3Draft] = {}
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
        manifest = S3Source(self._place(name)).manifest if name else None
        return manifest if manifest and manifest.digest == digest else None

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it; one whose manifest is damaged is made again."""
        return unless_damaged(lambda: self.manifest(digest))

    def whole(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has all of its files in their sizes."""
        found = self.find(digest)
        listed = unless_damaged(S3Source(Bucket.at(found.uri)).files) if found else None
        return found if listed else None

    def source(self, checkpoint: Checkpoint) -> S3Source | None:
        """Where a checkpoint's files can be read, None where the store does not have them."""
        found = self.find(checkpoint.digest)
        return S3Source(Bucket.at(found.uri)) if found else None

    def once(self, key: str, recall: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find work that was done before, or do it (see `components.system.locks.once`), in a folder of this machine.

        Another machine may do the same at the same time: publishing sees to it that one result stands.
        """
        return once(settings.home() / "staging" / key, recall, make)

    def draft(self, work: Path) -> S3Draft:
        """A draft for the work that has the folder `work` from `once`."""
        return self._open(work.name)

    def publish(self, work: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the draft of `work` visible under its digest; of several with one content, the first stands.

        Raises:
            BadCheckpoint: a file that the manifest lists is not there.
            OutputConflict: the draft was taken for garbage meanwhile.
        """
        return self._publish(self._drafts.get(work.name) or self._open(work.name), checkpoint)

    def _publish(self, draft: S3Draft, checkpoint: Checkpoint) -> Checkpoint:
        checkpoint = checkpoint.model_copy(update={"uri": draft.place.uri})
        index = f"digests/{checkpoint.digest}"
        self._write_manifest(draft.place, checkpoint)
        name = _name(draft.place)
        try:
            self.root.put(index, name.encode(), new=True)
        except AlreadyThere:
            other = self.find(checkpoint.digest)
            if other is not None and other.uri != checkpoint.uri:
                self._restore(other, draft)
                withdraw(draft.place, checkpoint.to_json())  # first: without it the rest is no checkpoint
                draft.tidy()
                remove_draft(draft.place, (), datetime.max.replace(tzinfo=UTC))
                return other
            self.root.put(index, name.encode())  # it named a checkpoint that is gone, or this one
        if not is_published(draft.place):
            raise _taken(checkpoint)
        draft.tidy()
        for file in checkpoint.files:
            if file.size >= INDEXED_BYTES:
                self.remember("files", file.sha256, f"checkpoints/{name}/{file.path}")
        return checkpoint

    def _write_manifest(self, place: Bucket, checkpoint: Checkpoint) -> None:
        content = checkpoint.to_json()
        try:
            place.put(MANIFEST, content, new=True)
        except AlreadyThere:
            self._replace_manifest(place, checkpoint, content)
            S3Source(place).files()
            return
        try:
            S3Source(place).files()
        except BadCheckpoint:
            withdraw(place, content)
            raise

    def _replace_manifest(self, place: Bucket, checkpoint: Checkpoint, content: bytes) -> None:
        """Take the place of the manifest of an earlier try, or of another that did the same, never of a mark."""
        for _ in range(MOST_WRITERS):
            found = place.head(MANIFEST)  # before it is read, so that nothing that was not read is replaced
            there = read_manifest(place)
            if there == content:
                return
            if found is None or there is None or there.startswith(MARK):
                break
            with suppress(AlreadyThere, Absent):
                place.put(MANIFEST, content, replaces=found.etag)
                return
        raise _taken(checkpoint)

    def _restore(self, damaged: Checkpoint, draft: S3Draft) -> None:
        """Give a checkpoint back the files that it lost, from a draft of the same content."""
        place = Bucket.at(damaged.uri)
        sizes = {entry.key: entry.size for entry in place.objects()}
        for file in damaged.files:
            if sizes.get(file.path) != file.size:
                key = f"checkpoints/{_name(draft.place)}/{file.path}"
                restored = S3Draft(place, self.root, lambda sha256, key=key: key)  # type: ignore[misc]
                restored.adopt(file.path, file.size, file.sha256)
                restored.tidy()
        S3Source(place).files()

    def take(self, folder: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Upload the files of a folder and make them visible under their digest."""
        found = self.whole(checkpoint.digest)
        if found is not None:
            return found
        draft = self._open(f"content-{checkpoint.digest}")
        copy_files(FolderSource(path=folder), checkpoint.listed, draft)
        return self._publish(draft, checkpoint)

    @contextmanager
    def local(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """A verified copy of a checkpoint's files in a scratch folder, for programs that need them there.

        Raises:
            StorageFull: there is not enough room for it.
            BadReference: the store does not have them.
        """
        source = self.source(checkpoint)
        if source is None:
            raise checkpoint.lost()
        folder = settings.home() / "scratch" / checkpoint.digest
        with scratch_copy(checkpoint, source, folder):
            yield folder

    def recall(self, kind: str, key: str) -> str | None:
        """What `remember` kept."""
        return unless_damaged(lambda: self._read(f"results/{kind}/{key}"))

    def remember(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""
        self.root.put(f"results/{kind}/{key}", document.encode())

    def exchange(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old` (see `components.store.store.store.Store`)."""
        require_conditional_writes(self.root)
        place = f"results/{kind}/{key}"
        found = self.root.head(place)  # before it is read, so that nothing that was not read is replaced
        if self._read(place) != old or (found is None) != (old is None):
            return False
        try:
            self.root.put(place, new.encode(), new=found is None, replaces=found.etag if found else None)
        except (AlreadyThere, Absent):
            return self._read(place) == new
        return True

    def recall_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was remembered, if it is still there, whole."""
        digest = self.recall(kind, key)
        return self.whole(digest) if digest and DIGEST.fullmatch(digest) else None

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

    def _open(self, work: str) -> S3Draft:
        require_conditional_writes(self.root)
        name = work
        while is_condemned(self._place(name)):  # by a `gc` that goes on, or was killed: it keeps that place
            name = f"again-{name}"
        self._drafts[work] = S3Draft(self._place(name), self.root, lambda sha256: self.recall("files", sha256))
        return self._drafts[work]

    def _place(self, name: str) -> Bucket:
        return self.root.under(f"checkpoints/{name}")

    def _read(self, key: str) -> str | None:
        try:
            return text_of(self.root.get(key), f"{self.root.uri}/{key}")
        except Absent:
            return None


def _name(place: Bucket) -> str:
    return place.prefix.rsplit("/", 1)[-1]


def _taken(checkpoint: Checkpoint) -> OutputConflict:
    return OutputConflict(
        f"the unfinished {checkpoint.name} at {checkpoint.uri} was just taken for garbage and removed",
        hint="run the same command again: it begins anew, in another place if `recycle store gc` still holds this one",
    )
