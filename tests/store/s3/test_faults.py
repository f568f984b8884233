"""Every fault a server or a network is known for, at every operation: over it, or one clear error in bounded time."""

import socket
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from components.errors import BadCheckpoint, BadReference, RecycleError, ServiceUnavailable, StorageFull
from components.s3.bucket import Bucket
from components.s3.client import client
from components.s3.retries import FEWEST_TRIES, Absent, AlreadyThere
from components.system import network
from tests.support.faulty_proxy import listing, proxy, refusal, running_proxy  # noqa: F401 - fixtures

# ruff: noqa: F811 - fixtures are imported, and asked for by name

CONTENT = bytes(range(256)) * 40
PART = bytes(5 << 20)
LONGEST_S = 12.0


@pytest.fixture
def bucket_store(bucket_store):
    bucket_store.put("there", CONTENT)
    return bucket_store


@pytest.fixture
def upload(request, bucket_store):
    """An upload with one part, begun before anything goes wrong, where the operation has to do with one."""
    if request.node.callspec.params["operation"] not in ("write a part", "complete", "list uploads", "list parts"):
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
    with suppress(AlreadyThere):
        place.put("first", CONTENT, new=True)
    assert place.get("first") == CONTENT


def write_part(place, upload):
    etag = place.upload_part("whole", upload[0], 2, PART)
    assert place.parts("whole", upload[0])[2] == (len(PART), etag)


def complete(place, upload):
    with suppress(Absent):
        place.complete_upload("whole", upload[0], {1: upload[1]})
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
WAITED_FOR = ("read a range", "write a part", "complete", "list")
CASES = [
    (fault, operation)
    for fault in PASSING
    for operation in OPERATIONS
    if not (fault in OF_BODIES and operation in WITHOUT_BODY)
    and not (fault == "no answer" and operation not in WAITED_FOR)
]


@pytest.mark.parametrize(("fault", "operation"), CASES)
def test_a_fault_that_may_pass(proxy, bucket_store, upload, operation, fault):
    act, method, match = OPERATIONS[operation]
    kind, settings = PASSING[fault]
    queued = proxy.fail(kind, method, match, times=1000, **settings)
    started = time.monotonic()
    with pytest.raises(RecycleError) as failure:
        act(bucket_store, upload)
    assert time.monotonic() - started < LONGEST_S
    assert queued.hits >= FEWEST_TRIES
    assert bucket_store.uri in failure.value.problem
    queued.times = 2
    act(bucket_store, upload)


REFUSALS = {
    "AccessDenied": (403, BadReference, "AWS_ACCESS_KEY_ID"),
    "InvalidAccessKeyId": (403, BadReference, "AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, BadReference, "AWS_ACCESS_KEY_ID"),
    "ExpiredToken": (400, BadReference, "AWS_SESSION_TOKEN"),
    "RequestTimeTooSkewed": (403, ServiceUnavailable, "clock"),
    "NoSuchBucket": (404, BadReference, "RECYCLE_STORE"),
    "XMinioStorageFull": (507, StorageFull, "room"),
    "QuotaExceeded": (403, StorageFull, "quota"),
    "XMinioAdminBucketQuotaExceeded": (400, StorageFull, "quota"),
    "MethodNotAllowed": (405, ServiceUnavailable, "AWS_ENDPOINT_URL_S3"),
}
"""What no other try gets over: status, error, and a word of what to do."""


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "look"])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_at_once(proxy, bucket_store, upload, code, operation):
    act, method, match = OPERATIONS[operation]
    status, error, word = REFUSALS[code]
    queued = proxy.fail("status", method, match, times=1000, status=status, body=refusal(code, "for this reason"))
    with pytest.raises(RecycleError) as failure:
        act(bucket_store, upload)
    assert type(failure.value) is error
    assert queued.hits == 1
    assert word in failure.value.hint
    if code != "NoSuchBucket":
        assert f"{code}: for this reason" in failure.value.problem
    else:
        assert bucket_store.name in failure.value.problem


def test_says_which_object_which_range_what_the_server_said_and_what_to_do(proxy, bucket_store):
    proxy.fail("status", "GET", times=1000, body=refusal("SlowDown", "Please reduce your request rate"))
    with pytest.raises(ServiceUnavailable) as failure:
        bucket_store.read_into("there", 300, memoryview(bytearray(1000)), None)
    assert failure.value.problem == (
        f"{proxy.url} does not read bytes 300-1299 of there in {bucket_store.uri}: "
        "SlowDown: Please reduce your request rate"
    )
    assert "run the same command again" in failure.value.hint


class TestRanges:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("not-partial", {}),
            ("wrong-range", {}),
            ("short", {"after": 999}),
            ("reset", {"after": 500}),
            ("replace", {"status": 206, "headers": {"Content-Range": "bytes 300-1299/10240"}, "body": b"short"}),
            ("replace", {"status": 206, "headers": {"Content-Range": "bytes 0-999/10240"}, "body": bytes(1000)}),
            ("replace", {"status": 206, "body": bytes(1000)}),
            (
                "replace",
                {
                    "status": 206,
                    "headers": {"Content-Range": "bytes 300-1299/10240", "Content-Encoding": "gzip"},
                    "body": bytes(1000),
                },
            ),
        ],
        ids=["200", "another", "a byte short", "reset", "shorter", "the first", "none named", "compressed"],
    )
    def test_only_the_range_asked_for_is_taken(self, proxy, bucket_store, kind, settings):
        queued = proxy.fail(kind, "GET", "there$", times=2, **settings)
        read_range(bucket_store, None)
        assert queued.hits == 2

    def test_a_new_version_between_two_ranges_is_told(self, proxy, bucket_store):
        etag, buffer = bucket_store.head("there").etag, memoryview(bytearray(1000))
        bucket_store.read_into("there", 0, buffer, etag)
        bucket_store.put("there", CONTENT[::-1])
        with pytest.raises(BadCheckpoint, match=r"bytes 1000-1999 of there.*replaced"):
            bucket_store.read_into("there", 1000, buffer, etag)

    def test_a_slow_body_is_given_up(self, proxy, bucket_store, monkeypatch):
        monkeypatch.setattr(network, "MIN_BYTES_PER_S", 1 << 40)
        monkeypatch.setattr(network, "WINDOW_S", 0.0)
        with pytest.raises(ServiceUnavailable, match="slower than"):
            bucket_store.get("there")


class TestFlippedBits:
    def test_of_a_part_are_found_by_the_server(self, proxy, bucket_store):
        upload = bucket_store.start_upload("whole")
        queued = proxy.fail("flip-request", "PUT", "partNumber", times=2, after=1234)
        etag = bucket_store.upload_part("whole", upload, 1, PART)
        bucket_store.complete_upload("whole", upload, {1: etag})
        assert queued.hits == 2
        assert bucket_store.get("whole") == PART

    def test_of_a_document_on_its_way_there(self, proxy, bucket_store):
        queued = proxy.fail("flip-request", "PUT", "new$", times=2)
        write(bucket_store, None)
        assert queued.hits == 2

    def test_of_a_document_on_its_way_back(self, proxy, bucket_store):
        queued = proxy.fail("flip", "GET", "there$", times=2)
        assert bucket_store.get("there") == CONTENT
        assert queued.hits == 2


class TestLists:
    @pytest.mark.parametrize("keys", [["elsewhere/x"], ["{prefix}/x", "{prefix}/x"], ["{prefix}", "x"], [""]])
    def test_that_are_of_another_place_are_not_taken(self, proxy, bucket_store, keys):
        body = listing(bucket_store, [key.format(prefix=bucket_store.prefix) for key in keys])
        queued = proxy.fail("status", "GET", "list-type", times=2, status=200, body=body)
        list_all(bucket_store, None)
        assert queued.hits == 2

    def test_a_page_that_comes_again_and_again(self, proxy, bucket_store):
        body = listing(bucket_store, [f"{bucket_store.prefix}/x"], truncated=True)
        proxy.fail("status", "GET", "list-type", times=1000, status=200, body=body)
        with pytest.raises(ServiceUnavailable, match="twice"):
            bucket_store.objects()

    def test_a_page_of_uploads_that_comes_again_and_again(self, proxy, bucket_store):
        body = (
            f"<R><Bucket>{bucket_store.name}</Bucket><IsTruncated>true</IsTruncated>"
            "<NextKeyMarker>x</NextKeyMarker><NextPartNumberMarker>1</NextPartNumberMarker></R>"
        ).encode()
        proxy.fail("status", "GET", "upload", times=1000, status=200, body=body)
        for act in (bucket_store.incomplete, lambda: bucket_store.parts("whole", "id")):
            with pytest.raises(ServiceUnavailable, match="does not go on"):
                act()

    def test_more_than_a_page(self, proxy, bucket_store, monkeypatch):
        for number in range(3):
            bucket_store.put(f"many/{number}", b"")
        proxy.fail("status", "GET", "list-type", skip=1, times=1)
        proxy.fail("call", "GET", "list-type", times=1000)
        monkeypatch.setattr(client(), "_list_objects", small_pages(client()._list_objects))
        assert [entry.key for entry in bucket_store.objects("many/")] == ["many/0", "many/1", "many/2"]
        assert len(proxy.requests("GET", "list-type")) >= 5


def small_pages(real):
    return lambda *arguments, **rest: real(*arguments, **(rest | {"max_keys": 1}))


class TestRealRefusals:
    """What MinIO itself says."""

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
    def test_wrong_credentials(self, proxy, bucket_store, monkeypatch, name):
        monkeypatch.setenv(name, "something-else-0")
        for act in (list_all, write, read_whole):
            with pytest.raises(BadReference, match=bucket_store.uri) as failure:
                act(bucket_store, None)
            assert name in failure.value.hint
            assert "something-else-0" not in str(failure.value)

    def test_no_bucket(self, proxy, bucket_store):
        elsewhere = Bucket("no-such-bucket", "store")
        for act in (list_all, write, write_first, begin, read_whole):
            with pytest.raises(BadReference, match="no bucket no-such-bucket"):
                act(elsewhere, None)
        assert elsewhere.head("there") is None

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_a_clock_that_is_wrong(self, proxy, bucket_store, monkeypatch, hours):
        from minio import time as clock

        real = clock.utcnow
        monkeypatch.setattr(clock, "utcnow", lambda: real() + timedelta(hours=hours))
        with pytest.raises(ServiceUnavailable, match="RequestTimeTooSkewed") as failure:
            bucket_store.get("there")
        assert "clock" in failure.value.hint

    def test_no_server(self, proxy, bucket_store, monkeypatch):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(ServiceUnavailable, match="refused") as failure:
                bucket_store.get("there")
        assert "AWS_ENDPOINT_URL_S3" in failure.value.hint

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_not_followed(self, proxy, bucket_store, status):
        headers = {"Location": "http://169.254.169.254/latest/meta-data/"}
        proxy.fail("status", times=1000, status=status, headers=headers, body=refusal("Moved"))
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            bucket_store.get("there")
        assert time.monotonic() - started < LONGEST_S
