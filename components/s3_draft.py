"""A checkpoint that is being written into a bucket: complete objects under its prefix, no manifest yet."""

from collections.abc import Callable
from types import TracebackType

from components.copying import digest_of_file
from components.draft import Finished
from components.errors import ServiceUnavailable
from components.s3 import MOST_PARTS, SMALLEST_PART, Absent, Bucket
from components.s3_source import S3Source

NOTES = ".draft/"
"""Prefix, inside a draft's, of what only a rerun needs."""


class S3Draft:
    """A prefix of a bucket as a draft (see `components.draft.Draft`)."""

    smallest_write = SMALLEST_PART

    def __init__(self, place: Bucket, store: Bucket, held: Callable[[str], str | None]) -> None:
        """Open the draft.

        Args:
            place: its prefix.
            store: the prefix of the whole store.
            held: gives the key, in the store, of an object whose content has a sha256.
        """
        self.place = place
        self._store = store
        self._held = held

    @property
    def source(self) -> S3Source:
        """What was written so far."""
        return S3Source(self.place)

    def finished(self, path: str) -> Finished | None:
        """What is known of a file that is complete and still the same object."""
        try:
            finished = Finished.model_validate_json(self.place.get(f"{NOTES}{path}.finished"))
        except Absent:
            return None
        found = self.place.head(path)
        return finished if found and (found.size, found.etag) == (finished.size, finished.etag) else None

    def adopt(self, path: str, size: int, sha256: str) -> bool:
        """Have the server copy an object of the store that has this content."""
        key = self._held(sha256)
        if key is None:
            return False
        try:
            self.place.copy(self._store, key, path)
        except Absent:
            return False
        found = self.place.head(path)
        if found is None or found.size != size:
            return False
        _keep(self.place, path, Finished(size=size, sha256=sha256, etag=found.etag))
        return True

    def create(self, path: str, size: int, *, block: int | None = None) -> "S3Output":
        """Begin a file."""
        return S3Output(self.place, path, size, block)

    def discard(self) -> None:
        """Remove every object of it."""
        for entry in self.place.objects():
            self.place.delete(entry.key)

    def tidy(self) -> None:
        """Remove what only a rerun would need."""
        for entry in self.place.objects(NOTES):
            self.place.delete(entry.key)


class S3Output:
    """An object that is uploaded in parts (see `components.draft.Output`).

    Small ones are kept until `finish` and written at once.
    """

    def __init__(self, place: Bucket, path: str, size: int, block: int | None) -> None:
        self._place, self._path, self._size = place, path, size
        # Each part's number follows from its offset, so that parts can be written in any order.
        self._step = block or max(SMALLEST_PART, -(-size // (MOST_PARTS - 1)))
        self._small = bytearray(size) if size <= SMALLEST_PART else None
        self._start = b""
        self._etags: dict[int, str] = {}
        self._completed = False
        self._upload = "" if self._small is not None else self._begin(resumed=block is not None)
        self.present = frozenset((number - 1) * self._step for number in self._etags)

    def __enter__(self) -> "S3Output":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An unfinished upload stays: a rerun goes on in it, or `gc` removes it."""

    def write(self, offset: int, data: memoryview) -> None:
        """Upload one part. A first write that is too small for one goes with the next."""
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
        self._etags[number] = self._place.upload_part(self._path, self._upload, number, content)

    def read_back(self) -> str:
        """sha256 of the object, read from the server; nothing can be written any more."""
        self._complete()
        return digest_of_file(S3Source(self._place), self._path, self._size)

    def finish(self, sha256: str, note: str = "") -> None:
        """Make the object complete."""
        self._complete()
        found = self._place.head(self._path)
        if found is None or found.size != self._size:
            raise ServiceUnavailable(
                f"{self._place.uri}/{self._path} has {found.size if found else 'no'} bytes after {self._size} were "
                "written",
                do="check the server; then run the same command again",
            )
        _keep(self._place, self._path, Finished(size=self._size, sha256=sha256, note=note, etag=found.etag))

    def discard(self) -> None:
        """Forget all that was written."""
        if self._completed:
            self._place.delete(self._path)
        elif self._upload:
            self._place.abort_upload(self._path, self._upload)

    def _begin(self, resumed: bool) -> str:
        """Find the upload of an earlier try, or start one."""
        if resumed:
            for upload, _ in reversed(self._place.uploads(self._path)):
                parts = self._place.parts(self._path, upload)
                last = -(-self._size // self._step)
                self._etags = {
                    number: etag
                    for number, (size, etag) in parts.items()
                    if size == (self._step if number < last else self._size - (last - 1) * self._step)
                }
                return upload
        # Named first: servers list uploads by whole keys only, so `gc` must know them.
        self._place.put(f"{NOTES}{self._path}.upload", b"")
        return self._place.start_upload(self._path)

    def _complete(self) -> None:
        if self._completed:
            return
        if self._small is not None:
            self._place.put(self._path, bytes(self._small))
        else:
            try:
                self._place.complete_upload(self._path, self._upload, self._etags)
            except Absent:
                # An earlier answer was lost, or another process that does the same was first: `finish` looks.
                if self._place.head(self._path) is None:
                    raise
        self._completed = True


def _keep(place: Bucket, path: str, finished: Finished) -> None:
    place.put(f"{NOTES}{path}.finished", finished.model_dump_json().encode())
