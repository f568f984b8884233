"""Every fault a server or a network is known for, at every operation: over it, or one clear error in bounded time."""

import time

import pytest
from faulty_proxy import FaultyProxy, refusal

from components import s3
from components.errors import RecycleError
from components.s3 import Absent, AlreadyThere

CONTENT = bytes(range(256)) * 40
PART = bytes(5 << 20)
LONGEST_S = 12.0


@pytest.fixture(scope="module")
def running_proxy(minio):
    with FaultyProxy(minio.port) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy, bucket_store, monkeypatch):
    """The server of `bucket_store` behind a proxy, and a client that has no patience."""
    monkeypatch.setattr(s3, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 0.3)
    monkeypatch.setattr(s3, "TRIES", 4)
    s3._connect.cache_clear()
    bucket_store.put("there", CONTENT)
    running_proxy.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_proxy.url)
    yield running_proxy
    running_proxy.reset()
    s3._connect.cache_clear()


@pytest.fixture
def upload(request, bucket_store):
    """An upload with one part, begun before anything goes wrong, where the operation has to do with one."""
    if request.getfixturevalue("operation") not in ("write a part", "complete", "list uploads", "list parts"):
        return None
    name = bucket_store.start_upload("whole")
    return name, bucket_store.upload_part("whole", name, 1, PART)


def read_range(place, upload):
    buffer = bytearray(1000)
    place.read_into("there", 300, memoryview(buffer), place.head("there").etag)
    assert buffer == CONTENT[300:1300]


def read_whole(place, upload):
    assert place.get("there") == CONTENT


def look(place, upload):
    assert place.head("there").size == len(CONTENT)


def list_all(place, upload):
    assert [(entry.key, entry.size) for entry in place.objects()] == [("there", len(CONTENT))]


def write(place, upload):
    place.put("new", CONTENT)
    assert place.get("new") == CONTENT


def write_first(place, upload):
    # Where an answer is lost, the second try finds the first: whoever asks then looks who it was.
    try:
        place.put("first", CONTENT, new=True)
    except AlreadyThere:
        pass
    assert place.get("first") == CONTENT


def write_part(place, upload):
    etag = place.upload_part("whole", upload[0], 2, PART)
    assert place.parts("whole", upload[0])[2] == (len(PART), etag)


def complete(place, upload):
    try:
        place.complete_upload("whole", upload[0], {1: upload[1]})
    except Absent:
        pass
    assert place.head("whole").size == len(PART)


def begin(place, upload):
    assert place.start_upload("other")


def list_uploads(place, upload):
    assert [name for name, _ in place.uploads("whole")] == [upload[0]]


def list_parts(place, upload):
    assert place.parts("whole", upload[0]) == {1: (len(PART), upload[1])}


def copy(place, upload):
    place.copy(place, "there", "copied")
    assert place.get("copied") == CONTENT


def delete(place, upload):
    place.delete("there")
    assert place.head("there") is None


OPERATIONS = {
    "read a range": (read_range, "GET", "there$"),
    "read whole": (read_whole, "GET", "there$"),
    "look": (look, "HEAD", "there$"),
    "list": (list_all, "GET", "list-type"),
    "write": (write, "PUT", "new$"),
    "write first": (write_first, "PUT", "first$"),
    "write a part": (write_part, "PUT", "partNumber"),
    "complete": (complete, "POST", "uploadId"),
    "begin": (begin, "POST", "uploads"),
    "list uploads": (list_uploads, "GET", "uploads"),
    "list parts": (list_parts, "GET", "uploadId"),
    "copy": (copy, "PUT", "copied$"),
    "delete": (delete, "DELETE", "there$"),
}

PASSING = {
    "503": ("status", {"body": refusal("SlowDown", "Please reduce your request rate")}),
    "500": ("status", {"status": 500, "body": refusal("InternalError", "We encountered an internal error")}),
    "500 after the work": ("replace", {"status": 500, "body": refusal("InternalError")}),
    "502 of another server": ("status", {"status": 502, "headers": {"Content-Type": "text/html"}, "body": b"<html>"}),
    "429": ("status", {"status": 429, "body": refusal("TooManyRequests")}),
    "no body": ("status", {"status": 503}),
    "no XML": ("status", {"status": 500, "body": b"\xff\xfe nonsense <"}),
    "no answer": ("silent", {}),
    "refused": ("refuse", {}),
    "answer lost": ("lost", {}),
    "reset in the body": ("reset", {}),
    "short": ("short", {}),
    "a portal's 200": ("status", {"status": 200, "headers": {"Content-Type": "text/html"}, "body": b"<html>Log in"}),
    "an error as 200": ("status", {"status": 200, "body": refusal("InternalError", "Please try again")}),
    "half an XML": ("replace", {"status": 200, "body": b'<?xml version="1.0"?><ListBucketRes'}),
}
"""What another try gets over."""

WITHOUT_BODY = ("look", "write", "write first", "write a part", "delete")
"""Operations whose answer is a header."""
OF_BODIES = ("reset in the body", "short", "half an XML")
CASES = [
    (fault, operation)
    for fault in PASSING
    for operation in OPERATIONS
    if not (fault in OF_BODIES and operation in WITHOUT_BODY)
]


@pytest.mark.parametrize(("fault", "operation"), CASES)
def test_gets_over_two(proxy, bucket_store, upload, operation, fault):
    act, method, match = OPERATIONS[operation]
    kind, settings = PASSING[fault]
    proxy.fail(kind, method, match, times=2, **settings)
    started = time.monotonic()
    act(bucket_store, upload)
    assert time.monotonic() - started < LONGEST_S


@pytest.mark.parametrize(("fault", "operation"), CASES)
def test_gives_up_in_the_end(proxy, bucket_store, upload, operation, fault):
    act, method, match = OPERATIONS[operation]
    kind, settings = PASSING[fault]
    queued = proxy.fail(kind, method, match, times=1000, **settings)
    started = time.monotonic()
    with pytest.raises(RecycleError) as failure:
        act(bucket_store, upload)
    assert time.monotonic() - started < LONGEST_S
    assert queued.hits <= s3.TRIES
    assert bucket_store.uri in failure.value.problem
