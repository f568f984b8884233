"""A bucket of an S3 server (MinIO or another), with bounded retries and errors that a user can act on.

RECYCLE_STORE          s3://bucket/prefix
AWS_ENDPOINT_URL_S3    the server (or AWS_ENDPOINT_URL; default AWS's own)
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION

One client for everything, the one of MinIO's authors: an upload that goes on after a kill needs the multipart calls
one by one. (Where two clients were measured side by side, the server was the limit of both.)
"""

import ipaddress
import logging
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from components.errors import (
    BadCheckpoint,
    BadParameter,
    BadReference,
    RecycleError,
    ServiceUnavailable,
    StorageFull,
)
from components.source import is_plain

if TYPE_CHECKING:
    from minio import Minio

Result = TypeVar("Result")

TRIES = 6
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 8.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""Without a byte; a slow answer that moves is not cut off."""
CONNECTIONS = 64
REGION = "us-east-1"
SMALLEST_PART = 5 << 20
MOST_PARTS = 10_000
"""Both limits are S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
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
    "NoSuchUploadYet",
)

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


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`.

    Raises:
        BadReference: it is not one, or climbs out of its prefix.
    """
    match = _URI.fullmatch(uri)
    prefix = (match[2] or "").rstrip("/") if match else ""
    if match is None or (prefix and not is_plain(prefix)):
        raise BadReference(
            f"{uri[:300]!a} is not the address of a place in a bucket",
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
        try:
            found = self._do(f"look at {key}", lambda: self._client.stat_object(self.name, self._key(key)))
        except Absent:
            return None
        return Object(key=key, size=int(found.size or 0), etag=str(found.etag), modified=_moment(found.last_modified))

    def get(self, key: str) -> bytes:
        """The whole of a small object.

        Raises:
            Absent: there is none.
        """
        return self._do(f"read {key}", lambda: self._get(key, 0, None, None))

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
        headers: Any = {"If-None-Match": "*"} if new else {}
        self._do(f"write {key}", lambda: self._client._put_object(self.name, self._key(key), content, headers))

    def copy(self, origin: "Bucket", source: str, key: str) -> None:
        """Have the server copy an object of `origin`, a place in the same bucket, whatever its size.

        Raises:
            Absent: there is no such object.
        """
        from minio.commonconfig import ComposeSource

        self._do(
            f"write {key} from {source}",
            lambda: self._client.compose_object(
                self.name, self._key(key), [ComposeSource(origin.name, origin._key(source))]
            ),
        )

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._do(f"remove {key}", lambda: self._client.remove_object(self.name, self._key(key)))

    def objects(self, prefix: str = "") -> tuple[Object, ...]:
        """Every object whose key starts with `prefix`, in order."""
        start = f"{self.prefix}/" if self.prefix else ""

        def everything() -> tuple[Object, ...]:
            found = self._client.list_objects(self.name, prefix=start + prefix, recursive=True)
            return tuple(
                Object(
                    key=str(entry.object_name).removeprefix(start),
                    size=int(entry.size or 0),
                    etag=str(entry.etag),
                    modified=_moment(entry.last_modified),
                )
                for entry in found
            )

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
            lambda: self._client._upload_part(self.name, self._key(key), data, None, upload, number),
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
            lambda: self._client._complete_multipart_upload(self.name, self._key(key), upload, listed),
        )

    def abort_upload(self, key: str, upload: str) -> None:
        """Remove an upload and its parts, if it is there."""
        with suppress(Absent):
            self._do(f"abort {key}", lambda: self._client._abort_multipart_upload(self.name, self._key(key), upload))

    def uploads(self, key: str) -> list[tuple[str, datetime]]:
        """Id and start of every upload of exactly this key, oldest first (MinIO lists them by whole keys only)."""
        listed = self._do(
            f"list uploads of {key}",
            lambda: self._client._list_multipart_uploads(self.name, prefix=self._key(key)),
        )
        found = [
            (str(upload.upload_id), _moment(upload.initiated_time))
            for upload in listed.uploads
            if upload.object_name == self._key(key)
        ]
        return sorted(found, key=lambda upload: upload[1])

    def parts(self, key: str, upload: str) -> dict[int, tuple[int, str]]:
        """Size and ETag of an upload's complete parts, by number.

        Raises:
            Absent: there is no such upload.
        """
        found: dict[int, tuple[int, str]] = {}
        marker: str | None = None
        while True:
            listed = self._do(
                f"list parts of {key}",
                lambda marker=marker: self._client._list_parts(  # type: ignore[misc]
                    self.name, self._key(key), upload, part_number_marker=marker
                ),
            )
            for part in listed.parts:
                found[int(part.part_number)] = (int(part.size or 0), str(part.etag).strip('"'))
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
        headers: Any = {"If-Match": etag} if etag else {}
        if buffer is not None:
            headers["Range"] = f"bytes={start}-{start + len(buffer) - 1}"
        response = self._client._execute("GET", self.name, self._key(key), headers=headers, preload_content=False)
        try:
            if buffer is None:
                return response.read()
            _check_range(response, start, len(buffer))
            _fill(response, buffer)
            return b""
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()

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
            try:
                return request()
            except (MinioException, HTTPError, _BadAnswer, OSError) as error:
                told = self._explained(what, error)
                if number == TRIES or not _may_pass(error):
                    raise told from None
                wait_s = min(FIRST_WAIT_S * 2 ** (number - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311
                log.warning("cannot %s in %s: %s; trying again in %.1f s", what, self.uri, _told(error), wait_s)
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


def _check_range(response: Any, start: int, length: int) -> None:  # noqa: ANN401 - urllib3's response
    given = str(response.headers.get("Content-Range", ""))
    if response.status != 206 or not re.fullmatch(rf"bytes {start}-{start + length - 1}/(\d+|\*)", given):
        raise _BadAnswer(f"asked for bytes {start}-{start + length - 1}, given HTTP {response.status}, {given[:80]!r}")


def _fill(response: Any, buffer: memoryview) -> None:  # noqa: ANN401 - urllib3's response
    filled = 0
    while filled < len(buffer):
        count = response.readinto(buffer[filled:])
        if not count:
            raise _BadAnswer(f"{len(buffer) - filled} fewer than the {len(buffer)} bytes asked for")
        filled += count


def _may_pass(error: Exception) -> bool:
    """Whether another try can end better."""
    from minio.error import InvalidResponseError, S3Error, ServerError

    if isinstance(error, S3Error):
        return error.code in _PASSING or int(getattr(error.response, "status", 0) or 0) >= 500
    if isinstance(error, ServerError):
        return error.status_code >= 500 or error.status_code == 429
    if isinstance(error, InvalidResponseError):
        return int(getattr(error, "_code", 0) or 0) >= 500 or int(getattr(error, "_code", 0) or 0) in (408, 429)
    return True


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
    parts = urlsplit(_endpoint())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


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

    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.path not in ("", "/")
        or parts.query
        or "@" in parts.netloc
    ):
        raise BadParameter(
            "AWS_ENDPOINT_URL_S3 is not the address of an S3 server", do="set it to http(s)://host:port, without a path"
        )
    if _is_link_local(host):
        raise BadParameter(f"AWS_ENDPOINT_URL_S3 names the link-local address {host}", do="name the S3 server")
    if not key or not secret:
        raise BadParameter("no credentials for S3 are set", do="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    # Redirects are not followed: the credentials are for the server that was named.
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=urllib3.Retry(0, redirect=0))
    return Minio(
        parts.netloc,
        access_key=key,
        secret_key=secret,
        session_token=token,
        secure=parts.scheme == "https",
        region=region,
        http_client=pool,
    )


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
