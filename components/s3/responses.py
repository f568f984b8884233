"""What an S3 server answered, taken only where it is what was asked for."""

import hashlib
import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from components.errors import BadCheckpoint
from components.s3.retries import BadAnswer
from components.system import MIN_BYTES_PER_S, MinimumThroughput

LARGEST_DOCUMENT = 256 << 20
"""Most bytes of what is read at once: manifests, notes, tokenizers."""
CHECKSUM = "x-amz-checksum-sha256"
WITH_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}


def etag_of(given: str | None) -> str:
    """An answer's ETag, which every answer about an object has."""
    if not given:
        raise BadAnswer("an answer without an ETag, which is not S3's")
    return str(given).strip('"')


def checksum(content: bytes | bytearray) -> str:
    """The sha256 of a content as S3 writes it, in base 64."""
    return b64encode(hashlib.sha256(content).digest()).decode()


def check_range(response: Any, start: int, length: int) -> None:  # noqa: ANN401 - urllib3's response
    """Refuse an answer that is not about the range asked for."""
    given = str(response.headers.get("Content-Range", ""))
    if response.status != 206 or not re.fullmatch(rf"bytes {start}-{start + length - 1}/(\d+|\*)", given):
        raise BadAnswer(f"asked for bytes {start}-{start + length - 1}, given HTTP {response.status}, {given[:80]!r}")


def fill(response: Any, buffer: memoryview) -> None:  # noqa: ANN401 - urllib3's response
    """Fill a buffer with a body, as long as it comes fast enough."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding not in ("", "identity", "aws-chunked"):
        raise BadAnswer(f"a body in the encoding {encoding[:20]!r}")
    pace = MinimumThroughput()
    filled = 0
    while filled < len(buffer):
        piece = response.read1(len(buffer) - filled, decode_content=False)
        if not piece:
            raise BadAnswer(f"{len(buffer) - filled} fewer than the {len(buffer)} bytes asked for")
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
        if pace.is_too_slow(len(piece)):
            raise BadAnswer(f"{filled} of {len(buffer)} bytes, and then slower than {MIN_BYTES_PER_S} bytes/s")


def moment(stamp: datetime | None) -> datetime:
    """A time that a server may leave out: then now, so that nothing is taken for old."""
    return stamp or datetime.now(UTC)


def document(response: Any, location: str) -> bytes:  # noqa: ANN401 - urllib3's response
    """The whole body of an answer about the object at `location`.

    Raises:
        BadCheckpoint: it is too large for a document.
        BadAnswer: it is cut short, or not what its own checksum says.
    """
    etag_of(response.headers.get("ETag"))
    length = int(response.headers["Content-Length"])
    if length > LARGEST_DOCUMENT:
        raise BadCheckpoint(
            f"{location} has {length} bytes, more than any document of a checkpoint",
            hint="do not use this checkpoint; get it again",
        )
    content = bytearray(length)
    fill(response, memoryview(content))
    recorded = response.headers.get(CHECKSUM, "")
    # A checksum of checksums, as an object has that was uploaded in parts, ends in their number.
    if recorded and "-" not in recorded and recorded != checksum(content):
        raise BadAnswer(f"bytes with another sha256 than its own, {recorded[:80]}")
    return bytes(content)
