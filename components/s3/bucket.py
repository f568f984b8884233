"""A prefix of a bucket of an S3 server (MinIO or another): its objects, and the uploads that become objects."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from components.checkpoints import is_plain
from components.errors import BadCheckpoint, BadReference
from components.s3.client import client
from components.s3.responses import CHECKSUM, WITH_CHECKSUM, check_range, checksum, document, etag_of, fill, moment
from components.s3.retries import Absent, BadAnswer, tried
from components.system import without_passwords

if TYPE_CHECKING:
    from minio.datatypes import ListMultipartUploadsResult, ListPartsResult, Part

Result = TypeVar("Result")
Listed = TypeVar("Listed", "ListMultipartUploadsResult", "ListPartsResult")

SMALLEST_PART = 5 << 20
MOST_PARTS = 10_000
"""Both limits are S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_NO_BUCKET = re.compile(r"\.\.|\.-|-\.|^[0-9.]+$")
"""Names that the pattern allows and S3 does not: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""


@dataclass(frozen=True, kw_only=True)
class Object:
    """One object, as a bucket lists it."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A multipart upload that is not complete."""

    key: str
    id: str
    size: int
    modified: datetime
    """When it got its newest part, or began."""


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`.

    Raises:
        BadReference: it is not one, or climbs out of its prefix.
    """
    match = _URI.fullmatch(uri)
    prefix = (match[2] or "").rstrip("/") if match else ""
    if match is None or (prefix and not is_plain(prefix)) or _NO_BUCKET.search(match[1]):
        raise BadReference(
            f"{without_passwords(uri)[:300]!a} is not the address of a prefix of a bucket",
            hint="write it as s3://bucket/prefix, without .. or %",
        )
    return match[1], prefix


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket; keys are relative to it."""

    name: str
    prefix: str

    @classmethod
    def at(cls, uri: str) -> "Bucket":
        """The prefix that `s3://bucket/prefix` names (see `parse_uri`)."""
        return cls(*parse_uri(uri))

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def under(self, key: str) -> "Bucket":
        """A prefix inside this one."""
        return Bucket(self.name, self._key(key))

    def head(self, key: str) -> Object | None:
        """Size and ETag of an object, None where there is none."""

        def look() -> Object:
            found = client().stat_object(self.name, self._key(key))
            return Object(
                key=key,
                size=int(found.size or 0),
                etag=etag_of(found.etag),
                modified=moment(found.last_modified),
            )

        try:
            return self._do(f"look at {key}", look)
        except Absent:
            return None

    def get(self, key: str, etag: str | None = None) -> bytes:
        """The whole of a small object, of the version that `etag` names if it is given.

        Raises:
            Absent: there is none.
            BadCheckpoint: it was changed meanwhile, or is not small.
        """
        return self._do(f"read {key}", lambda: self._get(key, 0, None, etag))

    def read_into(self, key: str, start: int, buffer: memoryview, etag: str | None) -> None:
        """Fill `buffer` with an object's bytes from `start`, of the version that `etag` names.

        Raises:
            Absent: there is none.
            BadCheckpoint: it was changed meanwhile.
        """
        what = f"read bytes {start}-{start + len(buffer) - 1} of {key}"
        self._do(what, lambda: self._get(key, start, buffer, etag))

    def put(self, key: str, content: bytes, *, new: bool = False, replaces: str | None = None) -> None:
        """Write a small object, whole or not at all.

        Args:
            key: The key of the object.
            content: All of its bytes.
            new: Whether it is written only where there is none.
            replaces: The ETag of the only version that it may take the place of.

        Raises:
            AlreadyThere: another was first, or an earlier try whose answer was lost.
            Absent: there is nothing that it could replace.
        """
        headers: Any = {CHECKSUM: checksum(content)} | ({"If-None-Match": "*"} if new else {})
        headers |= {"If-Match": f'"{replaces}"'} if replaces else {}
        self._do(
            f"write {key}",
            lambda: etag_of(client()._put_object(self.name, self._key(key), content, dict(headers)).etag),
        )

    def copy(self, origin: "Bucket", source: str, key: str) -> None:
        """Have the server copy an object of `origin`, a prefix of the same bucket, whatever its size.

        Raises:
            Absent: there is no such object.
        """
        from minio.commonconfig import ComposeSource

        self._do(
            f"copy {source} to {key}",
            lambda: client().compose_object(
                self.name, self._key(key), [ComposeSource(origin.name, origin._key(source))]
            ),
        )

    def delete(self, key: str, *, etag: str | None = None) -> None:
        """Remove an object, if it is there, and only the version that `etag` names if it is given.

        Each try looks first: where the answer of an earlier one was lost, another object may be there by now.
        """

        def remove() -> None:
            if etag is not None and etag_of(client().stat_object(self.name, self._key(key)).etag) != etag:
                return
            status = client()._execute("DELETE", self.name, self._key(key)).status
            if status != 204:
                raise BadAnswer(f"HTTP {status} instead of 204")

        with suppress(Absent):
            self._do(f"remove {key}", remove)

    def objects(self, prefix: str = "") -> tuple[Object, ...]:
        """Every object whose key starts with `prefix`, in order; those with names that we never write are left out."""
        start = f"{self.prefix}/" if self.prefix else ""

        def everything() -> tuple[Object, ...]:
            found: dict[str, Object] = {}
            for entry in client().list_objects(self.name, prefix=start + prefix, recursive=True):
                name = str(entry.object_name)
                if not name.startswith(start + prefix) or name in found:
                    raise BadAnswer(f"a list for {start + prefix} with {name[:300]!a}, or with it twice")
                found[name] = Object(
                    key=name.removeprefix(start),
                    size=int(entry.size or 0),
                    etag=etag_of(entry.etag),
                    modified=moment(entry.last_modified),
                )
            return tuple(entry for name, entry in found.items() if is_plain(name))

        return self._do(f"list {prefix or 'everything'}", everything)

    def start_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        headers: Any = {"Content-Type": "application/octet-stream"}
        return self._do(f"write {key}", lambda: client()._create_multipart_upload(self.name, self._key(key), headers))

    def upload_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Upload one part, whose digest the server checks, and return its ETag.

        Raises:
            Absent: there is no such upload.
        """
        return self._do(
            f"write part {number} ({len(data)} bytes) of {key}",
            lambda: etag_of(client()._upload_part(self.name, self._key(key), data, None, upload, number)),
        )

    def complete_upload(self, key: str, upload: str, parts: dict[int, str]) -> None:
        """Make an upload an object, all of it at once.

        Raises:
            Absent: there is no such upload.
        """
        from minio.datatypes import Part

        listed = [Part(number, etag) for number, etag in sorted(parts.items())]
        self._do(
            f"complete {key}",
            # S3 may say 200 at once, and then that it failed.
            lambda: etag_of(client()._complete_multipart_upload(self.name, self._key(key), upload, listed).etag),
        )

    def abort_upload(self, key: str, upload: str) -> None:
        """Remove an upload and its parts, if it is there."""
        with suppress(Absent):
            self._do(f"abort {key}", lambda: client()._abort_multipart_upload(self.name, self._key(key), upload))

    def uploads(self, key: str) -> list[tuple[str, datetime]]:
        """Id and start of every upload of exactly this key, oldest first."""
        found = ((upload, began) for _, upload, began in self._uploads(key))
        return sorted(found, key=lambda one: one[1])

    def incomplete(self, key: str | None = None) -> tuple[Upload, ...]:
        """Every incomplete upload of exactly this key, or all that the server tells of when it is not asked for one.

        (MinIO lists a bucket's uploads as it remembers them, and those of a whole key as they are.)
        """
        found: list[Upload] = []
        for name, upload, began in self._uploads(key):
            with suppress(Absent):
                found.append(self._incomplete(name, upload, began))
        return tuple(found)

    def _uploads(self, key: str | None) -> Iterator[tuple[str, str, datetime]]:
        start = f"{self.prefix}/" if self.prefix else ""
        marker: str | None = None
        while True:
            listed = self._do(
                f"list uploads of {key or 'everything'}",
                lambda marker=marker: self._uploads_after(key, marker),  # type: ignore[misc]
            )
            for upload in listed.uploads:
                name = str(upload.object_name)
                if name.startswith(start) and is_plain(name) and key in (None, name.removeprefix(start)):
                    yield name.removeprefix(start), str(upload.upload_id), moment(upload.initiated_time)
            marker = str(listed.next_key_marker or "")
            if not (listed.is_truncated and marker):
                return

    def _incomplete(self, key: str, upload: str, began: datetime) -> Upload:
        parts = self._parts(key, upload)
        return Upload(
            key=key,
            id=upload,
            size=sum(int(part.size or 0) for part in parts),
            modified=max([began, *(moment(part.last_modified) for part in parts)]),
        )

    def parts(self, key: str, upload: str) -> dict[int, tuple[int, str]]:
        """Size and ETag of an upload's complete parts, by number.

        Raises:
            Absent: there is no such upload.
        """
        return {
            int(part.part_number): (int(part.size or 0), str(part.etag).strip('"')) for part in self._parts(key, upload)
        }

    def _parts(self, key: str, upload: str) -> "list[Part]":
        found: list[Part] = []
        marker: str | None = None
        while True:
            listed = self._do(
                f"list parts of {key}",
                lambda marker=marker: self._parts_after(key, upload, marker),  # type: ignore[misc]
            )
            found += listed.parts
            if not listed.is_truncated:
                return found
            marker = str(listed.next_part_number_marker)

    def _uploads_after(self, key: str | None, marker: str | None) -> "ListMultipartUploadsResult":
        prefix = "" if key is None else self._key(key)
        listed = self._ours(client()._list_multipart_uploads(self.name, prefix=prefix, key_marker=marker))
        if listed.is_truncated and listed.next_key_marker and str(listed.next_key_marker) <= (marker or ""):
            raise BadAnswer(f"a list that does not go on after {(marker or '')[:300]!a}")
        return listed

    def _parts_after(self, key: str, upload: str, marker: str | None) -> "ListPartsResult":
        listed = self._ours(client()._list_parts(self.name, self._key(key), upload, part_number_marker=marker))
        if listed.is_truncated and int(listed.next_part_number_marker or 0) <= int(marker or 0):
            raise BadAnswer(f"a list that does not go on after part {marker or 0}")
        return listed

    def _key(self, key: str) -> str:
        whole = f"{self.prefix}/{key}" if self.prefix else key
        if not is_plain(whole):
            raise BadCheckpoint(
                f"{whole[:300]!a} is not a plain key of an object", hint="do not use this checkpoint; get it again"
            )
        return whole

    def _get(self, key: str, start: int, buffer: memoryview | None, etag: str | None) -> bytes:
        headers: Any = {"If-Match": f'"{etag}"'} if etag else {}
        headers |= {"Range": f"bytes={start}-{start + len(buffer) - 1}"} if buffer is not None else WITH_CHECKSUM
        response = client()._execute("GET", self.name, self._key(key), headers=headers, preload_content=False)
        try:
            if buffer is None:
                return document(response, f"{self.uri}/{key}")
            check_range(response, start, len(buffer))
            fill(response, buffer)
            return b""
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()

    def _ours(self, listed: Listed) -> Listed:
        if listed.bucket_name != self.name:
            raise BadAnswer(f"a list of the bucket {listed.bucket_name!a}")
        return listed

    def _do(self, what: str, request: Callable[[], Result]) -> Result:
        return tried(what, self.uri, request)
