"""Requests to an S3 server that fail: which are tried again and for how long, and what a user is told in the end."""

import logging
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from components.errors import BadCheckpoint, BadReference, RecycleError, ServiceUnavailable, StorageFull
from components.s3.client import site
from components.system import RetryPolicy, printable, retry

Result = TypeVar("Result")

PATIENCE_S = 60.0
"""Seconds after the first failure in which a request is tried again: a server's pod takes 10 to 30 s to come back."""
FEWEST_TRIES = 3
"""Tries that are made however long each takes to fail."""
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0
TELL_EVERY_S = 4.0

_PASSING = frozenset(
    {
        "InternalError",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "ServiceUnavailable",
        "RequestTimeout",
        "OperationAborted",
        "TooManyRequests",
        "ConditionalRequestConflict",
        "XMinioServerNotInitialized",
        "IncompleteBody",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
    }
)
_FULL = frozenset(
    {
        "XMinioStorageFull",
        "InsufficientStorage",
        "QuotaExceeded",
        "XMinioAdminBucketQuotaExceeded",
        "EntityTooLarge",
    }
)
_REFUSED = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "InvalidTokenId",
        "TokenRefreshRequired",
        "AuthorizationHeaderMalformed",
    }
)
_CAUSES: tuple[tuple[frozenset[str], type[RecycleError], str], ...] = (
    (_FULL, StorageFull, "make room there, or raise the quota, and run the same command again"),
    (
        _REFUSED,
        BadReference,
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and their policy",
    ),
    (
        frozenset({"RequestTimeTooSkewed"}),
        ServiceUnavailable,
        "set this machine's clock, or the server's: they differ by too much",
    ),
    (
        frozenset({"NotImplemented"}),
        ServiceUnavailable,
        "use a server that has all of S3 that Recycle needs, such as MinIO",
    ),
)
"""By S3's code of an error, which error it is told as and with which hint.

The codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; those with XMinio are MinIO's own.
"""

logger = logging.getLogger(__name__)


class Absent(Exception):
    """There is no such object, or no such upload."""


class AlreadyThere(Exception):
    """An object that was to be new exists."""


class BadAnswer(Exception):
    """The server answered, with something else than what was asked for; another try may do better."""


def tried(what: str, uri: str, request: Callable[[], Result]) -> Result:
    """What `request` returns, tried again where that may help.

    Args:
        what: What the request does, for messages; one that begins with `write` makes an object.
        uri: The bucket and prefix where it does that.
        request: Asks the server once.

    Raises:
        Absent: the object, or the upload, is not there.
        AlreadyThere: it must not be there, and is.
        RecycleError: anything else.
    """
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    failures = (MinioException, HTTPError, BadAnswer, OSError)

    def ask() -> Result:
        try:
            return request()
        except failures:
            raise
        except (ValueError, SyntaxError, KeyError) as error:  # the client's, when an XML is none, or not S3's
            raise BadAnswer(f"an answer that is not S3's ({error})") from None

    return retry(
        ask,
        RetryPolicy(
            first_wait_s=FIRST_WAIT_S, longest_wait_s=LONGEST_WAIT_S, patience_s=PATIENCE_S, min_tries=FEWEST_TRIES
        ),
        failures,
        tell=lambda error, waiting_s: _teller.tell(what, uri, error, waiting_s),
        may_pass=_may_pass,
        explain=lambda error, failing_s: _explain(what, uri, error, failing_s),
    )


class _Teller:
    """Says now and then that we wait, and for what: threads side by side mostly wait for the same."""

    def __init__(self) -> None:
        self._last: float | None = None

    def tell(self, what: str, uri: str, failure: Exception, waiting_s: float) -> None:
        now = time.monotonic()
        if self._last is None or not 0 <= now - self._last < TELL_EVERY_S:
            self._last = now
            logger.warning(
                "waiting for the store, %.0f s by the next try, because %s does not %s in %s: %s",
                waiting_s,
                site(),
                what,
                uri,
                _text_of(failure),
            )


_teller = _Teller()


def _explain(what: str, uri: str, error: Exception, failing_s: float) -> Exception:
    code = getattr(error, "code", None)
    tried_for = f" (tried for {failing_s:.0f} s)" if failing_s >= 1 else ""
    problem = f"{site()} does not {what} in {uri}: {_text_of(error)}{tried_for}"
    if code in ("NoSuchKey", "NoSuchUpload", "ResourceNotFound"):
        return Absent(problem)
    if code == "PreconditionFailed" and what.startswith("write"):
        return AlreadyThere(problem)
    if code == "PreconditionFailed":
        return BadCheckpoint(
            f"cannot {what} in {uri}: the object was replaced since it was first looked at",
            hint="run the same command again",
        )
    if code == "NoSuchBucket":
        return BadReference(
            f"{site()} has no bucket {urlsplit(uri).netloc}",
            hint=f"check the address {uri} (that of the store is RECYCLE_STORE), or make the bucket",
        )
    for codes, kind, hint in _CAUSES:
        if code in codes:
            return kind(problem, hint=hint)
    return ServiceUnavailable(
        problem, hint="check AWS_ENDPOINT_URL_S3 and the server; what was written is kept: run the same command again"
    )


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
    return (status >= 500 and status != 501) or status in (408, 429)  # 501: it never will


def _text_of(error: Exception) -> str:
    """What an error says, for people, without anything that gives access."""
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    text = f"{code}: {message}" if code else str(error) or type(error).__name__
    for secret in (os.environ.get("AWS_SECRET_ACCESS_KEY"), os.environ.get("AWS_SESSION_TOKEN")):
        text = text.replace(secret, "…") if secret else text
    text = re.sub(r"\?\S+", "?…", text)
    return printable(text, instead=" ")[:300]
