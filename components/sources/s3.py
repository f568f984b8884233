"""A checkpoint under a prefix of a bucket, with or without a manifest beside its files."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from components.checkpoints import MANIFEST, PICKLE_SUFFIXES, Checkpoint, SourceFile, belongs, is_plain
from components.errors import BadCheckpoint, DigestMismatch
from components.s3 import Absent, Bucket


class S3Source:
    """A prefix of a bucket as the source of a checkpoint (see `components.checkpoints.Source`)."""

    @classmethod
    def at(cls, uri: str) -> "S3Source":
        """The prefix that `s3://bucket/prefix` names.

        Raises:
            BadReference: it is no such address.
        """
        return cls(Bucket.at(uri))

    def __init__(self, location: Bucket, *, bare: bool = False) -> None:
        """Open the source.

        Args:
            location: The prefix of the checkpoint.
            bare: Whether the files are to be taken as they are, whatever manifest is there: it is of another try.
        """
        self.location = location
        self._bare = bare
        self._etags: dict[str, str] = {}

    @cached_property
    def manifest(self) -> Checkpoint | None:
        """The manifest that Recycle wrote beside the files, if it did."""
        if self._bare:
            return None
        try:
            content = self.location.get(MANIFEST)
        except Absent:
            return None
        return Checkpoint.parse(content, f"{self.reference}/{MANIFEST}").moved_to(self.uri)

    @property
    def reference(self) -> str:
        """`s3://bucket/prefix`."""
        return self.location.uri

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`, as manifests say it."""
        return self.reference

    @property
    def name(self) -> str:
        """The manifest's name, else the last part of the prefix."""
        return self.manifest.name if self.manifest else self.reference.rsplit("/", 1)[-1]

    @property
    def origin(self) -> dict[str, str]:
        """What the manifest says, else the address."""
        return self.manifest.origin if self.manifest else {"kind": "s3", "uri": self.reference}

    def files(self) -> tuple[SourceFile, ...]:
        """Every file of the checkpoint, directly under the prefix, sorted by name.

        Raises:
            BadCheckpoint: a file that the manifest lists is missing or has another size.
        """
        listed = {entry.key: entry for entry in self.location.objects() if _is_file(entry.key)}
        self._etags = {path: entry.etag for path, entry in listed.items()}
        found = tuple(
            SourceFile(path=path, size=entry.size, version=entry.etag) for path, entry in sorted(listed.items())
        )
        return self.manifest.match_files(found, self.reference) if self.manifest else found

    def pickles(self) -> tuple[str, ...]:
        """Names of pickled weights under the prefix."""
        keys = (entry.key for entry in self.location.objects())
        return tuple(key for key in keys if "/" not in key and key.endswith(PICKLE_SUFFIXES))

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of a file from `start`, or up to its end.

        Raises:
            DigestMismatch: the whole file was read, and is not what the manifest says.
            BadCheckpoint: the file is gone, or was replaced since it was listed.
            ServiceUnavailable: the server does not give them.
        """
        if length is None:
            with self._losses(path):
                content = self.location.get(path, self._etags.get(path))
            self._check(path, content)
            return content[start:]
        part = bytearray(length)
        if length:
            self.read_into(path, start, memoryview(part))
        return bytes(part)

    def read_into(self, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with a file's bytes from `start` (see `read`)."""
        with self._losses(path):
            self.location.read_into(path, start, buffer, self._etags.get(path))

    @contextmanager
    def _losses(self, path: str) -> Iterator[None]:
        try:
            yield
        except Absent as error:
            raise BadCheckpoint(
                f"{self.reference} lost {path} while it was being read ({error})", hint="save the checkpoint again"
            ) from None

    def _check(self, path: str, content: bytes) -> None:
        recorded = {file.path: file.sha256 for file in self.manifest.files} if self.manifest else {}
        found = hashlib.sha256(content).hexdigest()
        if recorded.get(path, found) != found:
            raise DigestMismatch(
                f"{self.reference}/{path} came with the sha256 {found}, but {recorded[path]} is recorded for it: its "
                "bytes were changed or damaged on the way",
                hint="run the same command again; if it repeats, save or transfer the checkpoint again",
            )


def _is_file(key: str) -> bool:
    return key != MANIFEST and "/" not in key and is_plain(key) and belongs(key)
