"""A checkpoint that is being written into a bucket: complete objects under its prefix, no manifest yet."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from pydantic import ValidationError

from components.checkpoints import digest_of_file
from components.errors import BadCheckpoint, DigestMismatch, OutputConflict, ServiceUnavailable
from components.s3 import MOST_PARTS, SMALLEST_PART, Absent, Bucket
from components.sources import S3Source
from components.store.writer import Finished

NOTES = ".draft/"
"""Prefix, inside a draft's, of what only a rerun needs."""
UPLOAD = ".upload"
COPIED_IN_PARTS = 5 << 30
"""From here on a server's copy is an upload too: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""


class S3CheckpointWriter:
    """Writes a checkpoint under a prefix of a bucket (see `components.store.CheckpointWriter`)."""

    smallest_write = SMALLEST_PART

    def __init__(self, location: Bucket, store: Bucket, held: Callable[[str], str | None]) -> None:
        """Write under a prefix.

        Args:
            location: The prefix of the checkpoint.
            store: The prefix of the whole store.
            held: Gives the key, in the store, of an object whose content has a sha256, if there is one.
        """
        self.location = location
        self._store = store
        self._held = held

    @property
    def source(self) -> S3Source:
        """What was written so far."""
        return S3Source(self.location, bare=True)

    def finished(self, path: str) -> Finished | None:
        """What is known of a file that is complete and still the same object."""
        try:
            finished = Finished.model_validate_json(self.location.get(f"{NOTES}{path}.finished"))
        except (Absent, ValidationError):
            return None
        found = self.location.head(path)
        return finished if found and (found.size, found.etag) == (finished.size, finished.etag) else None

    def adopt(self, path: str, size: int, sha256: str) -> bool:
        """Have the server copy an object of the store that has this content, unless it is in its place already."""
        key = self._held(sha256)
        if key is None:
            return False
        if self._store.under(key) != self.location.under(path) and not self._copy(key, path, size):
            return False
        return self.recover(path, size, sha256)

    def _copy(self, key: str, path: str, size: int) -> bool:
        if size > COPIED_IN_PARTS:
            _announce(self.location, path)
        try:
            self.location.copy(self._store, key, path)
        except (Absent, ServiceUnavailable):  # which may be no more than a copy that takes long
            return False
        return True

    def create(self, path: str, size: int, *, block: int | None = None) -> "S3FileWriter":
        """Begin a file."""
        return S3FileWriter(self.location, path, size, block)

    def recover(self, path: str, size: int, sha256: str) -> bool:
        """Keep an object of this content, all of which is read, that is in its place without a note."""
        found = self.location.head(path)
        if found is None or found.size != size or digest_of_file(self.source, path, size) != sha256:
            return False
        _keep(self.location, path, Finished(size=size, sha256=sha256, etag=found.etag))
        return True

    def discard(self) -> None:
        """Forget what is complete, so that a rerun makes it again.

        The objects stay until then, or for `gc`: another machine may be making a checkpoint of them.
        """
        self.tidy()

    def tidy(self) -> None:
        """Remove what only a rerun would need, and the uploads of tries that were broken off."""
        for entry in self.location.objects(NOTES):
            path = entry.key.removeprefix(NOTES)
            if path.endswith(UPLOAD):
                for upload, _ in self.location.uploads(path.removesuffix(UPLOAD)):
                    self.location.abort_upload(path.removesuffix(UPLOAD), upload)
            self.location.delete(entry.key)


class S3FileWriter:
    """An object that is uploaded in parts (see `components.store.FileWriter`).

    Small ones are kept until `finish` and written at once.
    """

    def __init__(self, location: Bucket, path: str, size: int, block: int | None) -> None:
        self._location, self._path, self._size = location, path, size
        # Each part's number follows from its offset, so that parts can be written in any order.
        self._step = block or max(SMALLEST_PART, -(-size // (MOST_PARTS - 1)))
        self._small = bytearray(size) if size <= SMALLEST_PART else None
        self._start = b""
        self._etags: dict[int, str] = {}
        self._completed = False
        self._others = False
        """Whether the object is what another process made."""
        self._upload = "" if self._small is not None else self._begin(resumed=block is not None)
        self.present = frozenset((number - 1) * self._step for number in self._etags)

    def __enter__(self) -> "S3FileWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An unfinished upload stays: a rerun goes on in it, or `gc` removes it."""

    def write(self, offset: int, data: memoryview) -> None:
        """Upload one part. A first write that is too small for one goes with the next."""
        if self._others:
            return
        if self._small is not None:
            self._small[offset : offset + len(data)] = data
            return
        if offset == 0 and len(data) < SMALLEST_PART:
            self._start = bytes(data)
            return
        content = bytes(data)
        if self._start and offset == len(self._start):
            offset, content = 0, self._start + content
        number = offset // self._step + 1
        try:
            self._etags[number] = self._location.upload_part(self._path, self._upload, number, content)
        except Absent:
            self._take_over()

    def read_back(self) -> str:
        """sha256 of the object, read from the server; nothing can be written any more."""
        self._complete()
        return digest_of_file(S3Source(self._location, bare=True), self._path, self._size)

    def finish(self, sha256: str, note: str = "") -> None:
        """Make the object complete.

        Raises:
            DigestMismatch: another process published the draft meanwhile, with another content of this file.
            OutputConflict: somebody removed what was written.
            ServiceUnavailable: the server does not have what it took.
        """
        self._complete()
        if self._others and self.read_back() != sha256:
            raise DigestMismatch(
                f"{self._location.uri}/{self._path} came to the sha256 {sha256} here, but another process that did the "
                "same wrote other bytes",
                hint="run the same command again; one of the two got damaged bytes",
            )
        found = self._location.head(self._path)
        if found is None or found.size != self._size:
            raise ServiceUnavailable(
                f"{self._location.uri}/{self._path} has {found.size if found else 'no'} bytes after {self._size} were "
                "written",
                hint="check the server; then run the same command again",
            )
        _keep(self._location, self._path, Finished(size=self._size, sha256=sha256, note=note, etag=found.etag))

    def discard(self) -> None:
        """Forget the upload. An object that it became has no record, so a rerun writes it again."""
        if self._upload and not self._completed:
            self._location.abort_upload(self._path, self._upload)

    def _begin(self, resumed: bool) -> str:
        """Find the upload of an earlier try, or start one."""
        for upload, _ in reversed(self._location.uploads(self._path) if resumed else []):
            try:
                parts = self._location.parts(self._path, upload)
            except Absent:
                continue
            last = -(-self._size // self._step)
            self._etags = {
                number: etag
                for number, (size, etag) in parts.items()
                if size == (self._step if number < last else self._size - (last - 1) * self._step)
            }
            return upload
        _announce(self._location, self._path)
        return self._location.start_upload(self._path)

    def _complete(self) -> None:
        if self._completed:
            return
        self._completed = True
        self._others = self._others or self._is_published()
        if self._others:
            if self._upload:
                self._location.abort_upload(self._path, self._upload)
        elif self._small is not None:
            self._location.put(self._path, bytes(self._small))
        else:
            try:
                self._location.complete_upload(self._path, self._upload, self._etags)
            except Absent:
                self._take_over()  # or an earlier answer was lost

    def _take_over(self) -> None:
        """Where the upload is gone, go on with the object that another process made of it, if one did.

        Two machines that do the same work go on in one upload, and one of them ends it.
        """
        found = self._location.head(self._path)
        if found is None or found.size != self._size:
            raise OutputConflict(
                f"the upload of {self._location.uri}/{self._path} was removed while it was being written",
                hint="run the same command again, once nobody else cleans the store",
            )
        self._others = True

    def _is_published(self) -> bool:
        """Whether another machine that does the same work was first to publish; what it made stays as it is."""
        manifest = None
        with suppress(BadCheckpoint):  # it is of no use to anybody, or says that `gc` is at work: publishing will tell
            manifest = S3Source(self._location).manifest
        recorded = next((file for file in manifest.files if file.path == self._path), None) if manifest else None
        found = self._location.head(self._path) if recorded else None
        return recorded is not None and found is not None and found.size == recorded.size


def _announce(location: Bucket, path: str) -> None:
    """Name an upload before it begins: servers list uploads by whole keys only, so whoever cleans must know them."""
    location.put(f"{NOTES}{path}{UPLOAD}", b"")


def _keep(location: Bucket, path: str, finished: Finished) -> None:
    location.put(f"{NOTES}{path}.finished", finished.model_dump_json().encode())
