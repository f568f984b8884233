"""A bucket of an S3 server (MinIO or another), with bounded retries and errors that a user can act on.

RECYCLE_STORE          s3://bucket/prefix
AWS_ENDPOINT_URL_S3    the server (or AWS_ENDPOINT_URL; default AWS's own)
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION

One client for everything, the one of MinIO's authors: an upload that goes on after a kill needs the multipart calls
one by one. (Where two clients were measured side by side, the server was the limit of both.)
"""

import hashlib
import logging
import os
import random
import re
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from components.addresses import is_link_local
from components.errors import (
    BadCheckpoint,
    BadParameter,
    BadReference,
    RecycleError,
    ServiceUnavailable,
    StorageFull,
)
from components.programs import without_passwords
from components.source import is_plain

if TYPE_CHECKING:
    from minio import Minio
    from minio.datatypes import ListMultipartUploadsResult, ListPartsResult, Part

Result = TypeVar("Result")
Listed = TypeVar("Listed", "ListMultipartUploadsResult", "ListPartsResult")

TRIES = 6
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 8.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""Without a byte."""
SLOWEST_BYTES_PER_S = 16 << 10
"""A body that comes slower than this is given up."""
LARGEST_DOCUMENT = 256 << 20
"""Bytes of what is read whole: manifests, notes, tokenizers."""
CONNECTIONS = 64
REGION = "us-east-1"
SMALLEST_PART = 5 << 20
MOST_PARTS = 10_000
"""Both limits are S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<place>(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)/?", re.ASCII
)
_NO_BUCKET = re.compile(r"\.\.|\.-|-\.|^[0-9.]+$")
"""Of names that the pattern allows: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
_FULL = (
    "XMinioStorageFull",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "EntityTooLarge",
    "InsufficientStorage",
)
_REFUSED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidTokenId",
    "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
)
_PASSING = (
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
    "XMinioServerNotInitialized",
    "SlowDownRead",
    "SlowDownWrite",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "BadDigest",
    "ConditionalRequestConflict",
    "TooManyRequests",
)
_CHECKSUM = "x-amz-checksum-sha256"
_WITH_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}

log = logging.getLogger(__name__)


class Absent(Exception):
    """There is no such object, or no such upload."""


class AlreadyThere(Exception):
    """An object that was to be new exists."""


class _BadAnswer(Exception):
    """The server answered, with something else than what was asked for; another try may do better."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """What a bucket lists."""

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
            f"{without_passwords(uri)[:300]!a} is not the address of a place in a bucket",
            do="write it as s3://bucket/prefix, without .. or %",
        )
    return match[1], prefix


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket; keys are relative to it."""

    name: str
    prefix: str

    @classmethod
    def at(cls, uri: str) -> "Bucket":
        """The place that `s3://bucket/prefix` names (see `parse_uri`)."""
        return cls(*parse_uri(uri))

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def under(self, key: str) -> "Bucket":
        """A place inside this one."""
        return Bucket(self.name, self._key(key))

    def head(self, key: str) -> Object | None:
        """Size and ETag of an object, None where there is none."""

        def look() -> Object:
            found = self._client.stat_object(self.name, self._key(key))
            etag, modified = _etag(found.etag), _moment(found.last_modified)
            return Object(key=key, size=int(found.size or 0), etag=etag, modified=modified)

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

    def put(self, key: str, content: bytes, *, new: bool = False) -> None:
        """Write a small object, whole or not at all.

        Raises:
            AlreadyThere: `new`, and another was first.
        """
        headers: Any = {_CHECKSUM: _sha256(content)} | ({"If-None-Match": "*"} if new else {})
        self._do(
            f"write {key}",
            lambda: _etag(self._client._put_object(self.name, self._key(key), content, dict(headers)).etag),
        )

    def copy(self, origin: "Bucket", source: str, key: str) -> None:
        """Have the server copy an object of `origin`, a place in the same bucket, whatever its size.

        Raises:
            Absent: there is no such object.
        """
        from minio.commonconfig import ComposeSource

        self._do(
            f"copy {source} to {key}",
            lambda: self._client.compose_object(
                self.name, self._key(key), [ComposeSource(origin.name, origin._key(source))]
            ),
        )

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

        def remove() -> None:
            status = self._client._execute("DELETE", self.name, self._key(key)).status
            if status != 204:
                raise _BadAnswer(f"HTTP {status} instead of 204")

        self._do(f"remove {key}", remove)

    def objects(self, prefix: str = "") -> tuple[Object, ...]:
        """Every object whose key starts with `prefix`, in order; those with names that we never write are left out."""
        start = f"{self.prefix}/" if self.prefix else ""

        def everything() -> tuple[Object, ...]:
            found: dict[str, Object] = {}
            for entry in self._client.list_objects(self.name, prefix=start + prefix, recursive=True):
                name = str(entry.object_name)
                if not name.startswith(start + prefix) or name in found:
                    raise _BadAnswer(f"a list for {start + prefix} with {name[:300]!a}, or with it twice")
                found[name] = Object(
                    key=name.removeprefix(start),
                    size=int(entry.size or 0),
                    etag=_etag(entry.etag),
                    modified=_moment(entry.last_modified),
                )
            return tuple(entry for name, entry in found.items() if is_plain(name))

        return self._do(f"list {prefix or 'everything'}", everything)

    def start_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        headers: Any = {"Content-Type": "application/octet-stream"}
        return self._do(
            f"write {key}", lambda: self._client._create_multipart_upload(self.name, self._key(key), headers)
        )

    def upload_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Upload one part, whose digest the server checks, and return its ETag.

        Raises:
            Absent: there is no such upload.
        """
        return self._do(
            f"write part {number} ({len(data)} bytes) of {key}",
            lambda: _etag(self._client._upload_part(self.name, self._key(key), data, None, upload, number)),
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
            lambda: _etag(self._client._complete_multipart_upload(self.name, self._key(key), upload, listed).etag),
        )

    def abort_upload(self, key: str, upload: str) -> None:
        """Remove an upload and its parts, if it is there."""
        with suppress(Absent):
            self._do(f"abort {key}", lambda: self._client._abort_multipart_upload(self.name, self._key(key), upload))

    def uploads(self, key: str) -> list[tuple[str, datetime]]:
        """Id and start of every upload of exactly this key, oldest first (MinIO lists them by whole keys only)."""
        listed = self._do(
            f"list uploads of {key}",
            lambda: self._ours(self._client._list_multipart_uploads(self.name, prefix=self._key(key))),
        )
        found = [
            (str(upload.upload_id), _moment(upload.initiated_time))
            for upload in listed.uploads
            if upload.object_name == self._key(key)
        ]
        return sorted(found, key=lambda upload: upload[1])

    def incomplete(self, key: str | None = None) -> tuple[Upload, ...]:
        """Every incomplete upload of exactly this key, or all that the server tells of when it is not asked for one.

        (MinIO lists a bucket's uploads as it remembers them, and those of a whole key as they are.)
        """
        start = f"{self.prefix}/" if self.prefix else ""
        found: list[Upload] = []
        marker: str | None = None
        while True:
            listed = self._do(
                f"list uploads of {key or 'everything'}",
                lambda marker=marker: self._ours(  # type: ignore[misc]
                    self._client._list_multipart_uploads(
                        self.name, prefix=self._key(key) if key else "", key_marker=marker
                    )
                ),
            )
            for upload in listed.uploads:
                name = str(upload.object_name)
                if name.startswith(start) and is_plain(name) and key in (None, name.removeprefix(start)):
                    with suppress(Absent):
                        began = _moment(upload.initiated_time)
                        found.append(self._incomplete(name.removeprefix(start), str(upload.upload_id), began))
            marker = str(listed.next_key_marker or "")
            if not (listed.is_truncated and marker):
                return tuple(found)

    def _incomplete(self, key: str, upload: str, began: datetime) -> Upload:
        parts = self._parts(key, upload)
        return Upload(
            key=key,
            id=upload,
            size=sum(int(part.size or 0) for part in parts),
            modified=max([began, *(_moment(part.last_modified) for part in parts)]),
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
                lambda marker=marker: self._ours(  # type: ignore[misc]
                    self._client._list_parts(self.name, self._key(key), upload, part_number_marker=marker)
                ),
            )
            found += listed.parts
            if not listed.is_truncated:
                return found
            marker = str(listed.next_part_number_marker)

    def _key(self, key: str) -> str:
        whole = f"{self.prefix}/{key}" if self.prefix else key
        if not is_plain(whole):
            raise BadCheckpoint(
                f"{whole[:300]!a} is not a plain key of an object", do="do not use this checkpoint; get it again"
            )
        return whole

    def _get(self, key: str, start: int, buffer: memoryview | None, etag: str | None) -> bytes:
        headers: Any = {"If-Match": f'"{etag}"'} if etag else {}
        headers |= {"Range": f"bytes={start}-{start + len(buffer) - 1}"} if buffer is not None else _WITH_CHECKSUM
        response = self._client._execute("GET", self.name, self._key(key), headers=headers, preload_content=False)
        try:
            if buffer is None:
                return self._document(key, response)
            _check_range(response, start, len(buffer))
            _fill(response, buffer)
            return b""
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()

    def _document(self, key: str, response: Any) -> bytes:  # noqa: ANN401 - urllib3's response
        _etag(response.headers.get("ETag"))
        length = int(response.headers["Content-Length"])
        if length > LARGEST_DOCUMENT:
            raise BadCheckpoint(
                f"{self.uri}/{key} has {length} bytes, more than any document of a checkpoint",
                do="do not use this checkpoint; get it again",
            )
        content = bytearray(length)
        _fill(response, memoryview(content))
        recorded = response.headers.get(_CHECKSUM, "")
        # A checksum of checksums, as an object has that was uploaded in parts, ends in their number.
        if recorded and "-" not in recorded and recorded != _sha256(content):
            raise _BadAnswer(f"bytes with another sha256 than its own, {recorded[:80]}")
        return bytes(content)

    def _ours(self, listed: Listed) -> Listed:
        if listed.bucket_name != self.name:
            raise _BadAnswer(f"a list of the bucket {listed.bucket_name!a}")
        return listed

    @property
    def _client(self) -> "Minio":
        return _client()

    def _do(self, what: str, request: Callable[[], Result]) -> Result:
        """What `request` returns, tried again where that may help.

        Raises:
            Absent: the object, or the upload, is not there.
            AlreadyThere: it must not be there, and is.
            RecycleError: anything else.
        """
        from minio.error import MinioException
        from urllib3.exceptions import HTTPError

        for number in range(1, TRIES + 1):
            failure: Exception
            try:
                return request()
            except (MinioException, HTTPError, _BadAnswer, OSError) as error:
                failure = error
            except (ValueError, SyntaxError, KeyError) as error:  # the client's, when an XML is none, or not S3's
                failure = _BadAnswer(f"an answer that is not S3's ({error})")
            if number == TRIES or not _may_pass(failure):
                raise self._explained(what, failure) from None
            wait_s = min(FIRST_WAIT_S * 2 ** (number - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("cannot %s in %s: %s; trying again in %.1f s", what, self.uri, _told(failure), wait_s)
            time.sleep(wait_s)
        raise AssertionError("the last try ends above")

    def _explained(self, what: str, error: Exception) -> Exception:
        code = getattr(error, "code", None)
        place = f"{_site()} does not {what} in {self.uri}: {_told(error)}"
        if code in ("NoSuchKey", "NoSuchUpload", "ResourceNotFound"):
            return Absent(place)
        if code == "PreconditionFailed":
            return AlreadyThere(place) if what.startswith("write") else _changed(what, self.uri)
        if code == "NoSuchBucket":
            return BadReference(f"{_site()} has no bucket {self.name}", do="make the bucket, or check RECYCLE_STORE")
        if code in _FULL:
            return StorageFull(place, do="make room there, or raise the quota, and run the same command again")
        if code == "RequestTimeTooSkewed":
            return ServiceUnavailable(place, do="set this machine's clock, or the server's: they differ by too much")
        if code in _REFUSED:
            return BadReference(
                place, do="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and their policy"
            )
        return ServiceUnavailable(
            place, do="check AWS_ENDPOINT_URL_S3 and the server; what was written is kept: run the same command again"
        )


def _changed(what: str, uri: str) -> RecycleError:
    return BadCheckpoint(
        f"cannot {what} in {uri}: the object was replaced since it was first looked at", do="run the same command again"
    )


def _etag(given: str | None) -> str:
    """An answer's ETag, which every answer about an object has."""
    if not given:
        raise _BadAnswer("an answer without an ETag, which is not S3's")
    return str(given).strip('"')


def _sha256(content: bytes | bytearray) -> str:
    return b64encode(hashlib.sha256(content).digest()).decode()


def _check_range(response: Any, start: int, length: int) -> None:  # noqa: ANN401 - urllib3's response
    given = str(response.headers.get("Content-Range", ""))
    if response.status != 206 or not re.fullmatch(rf"bytes {start}-{start + length - 1}/(\d+|\*)", given):
        raise _BadAnswer(f"asked for bytes {start}-{start + length - 1}, given HTTP {response.status}, {given[:80]!r}")


def _fill(response: Any, buffer: memoryview) -> None:  # noqa: ANN401 - urllib3's response
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding not in ("", "identity", "aws-chunked"):
        raise _BadAnswer(f"a body in the encoding {encoding[:20]!r}")
    until = time.monotonic() + READ_TIMEOUT_S + len(buffer) / SLOWEST_BYTES_PER_S
    filled = 0
    while filled < len(buffer):
        piece = response.read1(len(buffer) - filled, decode_content=False)
        if not piece:
            raise _BadAnswer(f"{len(buffer) - filled} fewer than the {len(buffer)} bytes asked for")
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
        if time.monotonic() > until:
            raise _BadAnswer(f"{filled} of {len(buffer)} bytes, slower than {SLOWEST_BYTES_PER_S} bytes/s")


def _may_pass(error: Exception) -> bool:
    """Whether another try can end better."""
    from minio.error import InvalidResponseError, S3Error, ServerError

    if isinstance(error, S3Error):
        status = int(getattr(error.response, "status", 0) or 0)
        return error.code in _PASSING or (_is_passing(status) and error.code not in _FULL)
    if isinstance(error, ServerError):
        return _is_passing(error.status_code)
    if isinstance(error, InvalidResponseError):
        return _is_passing(int(getattr(error, "_code", 0) or 0))
    return True


def _is_passing(status: int) -> bool:
    return status >= 500 or status in (408, 429)


def _told(error: Exception) -> str:
    """What an error says, for people, without anything that gives access."""
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    text = f"{code}: {message}" if code else str(error) or type(error).__name__
    for secret in (os.environ.get("AWS_SECRET_ACCESS_KEY"), os.environ.get("AWS_SESSION_TOKEN")):
        text = text.replace(secret, "…") if secret else text
    text = re.sub(r"\?\S+", "?…", text)
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]


def _moment(stamp: datetime | None) -> datetime:
    return stamp or datetime.now(UTC)


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"


def _site() -> str:
    match = _ENDPOINT.fullmatch(_endpoint())
    return f"{match['scheme']}://{match['place']}" if match else "S3"


def _client() -> "Minio":
    environment = os.environ
    return _connect(
        _endpoint(),
        environment.get("AWS_ACCESS_KEY_ID") or "",
        environment.get("AWS_SECRET_ACCESS_KEY") or "",
        environment.get("AWS_SESSION_TOKEN") or None,
        environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or REGION,
    )


@cache
def _connect(endpoint: str, key: str, secret: str, token: str | None, region: str) -> "Minio":
    import urllib3
    from minio import Minio

    match = _ENDPOINT.fullmatch(endpoint)
    if match is None:
        raise BadParameter(
            "AWS_ENDPOINT_URL_S3 is not the address of an S3 server", do="set it to http(s)://host:port, without a path"
        )
    host = match["host"].strip("[]")
    if is_link_local(host):
        raise BadParameter(f"AWS_ENDPOINT_URL_S3 names the link-local address {host}", do="name the S3 server")
    if not key or not secret:
        raise BadParameter("no credentials for S3 are set", do="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    # Redirects are not followed: the credentials are for the server that was named.
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=urllib3.Retry(0, redirect=0))
    return Minio(
        match["place"],
        access_key=key,
        secret_key=secret,
        session_token=token,
        secure=match["scheme"] == "https",
        region=region,
        http_client=pool,
    )
