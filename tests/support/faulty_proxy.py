"""A proxy in front of an S3 server that does wrong, once or often, what a script says.

The client's Host header goes on unchanged, because it is signed. Bodies are small enough to be kept whole.
"""

import http.client
import os
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

import pytest

from components.s3 import client as s3_client
from components.s3 import retries as s3_tries
from components.s3.bucket import Bucket

FaultKind = Literal[
    "status",
    "silent",
    "reset",
    "short",
    "refuse",
    "lost",
    "wrong-range",
    "not-partial",
    "flip",
    "flip-request",
    "call",
    "replace",
]
"""What goes wrong.

status        an answer of the script's own, and the server sees nothing
silent        no answer at all
refuse        the connection is reset before the server sees the request
lost          the server does the work, and the connection is reset instead of its answer
reset, short  `after` bytes of the body, then the connection is reset, or ends
wrong-range   another Content-Range than the body's
not-partial   200 where the server said 206
flip          one bit of the answer's body
flip-request  one bit of the request's body
call          `call` is called first; then all goes well
replace       the server does the work, and the answer is of the script's own
"""

Seen = tuple[str, str]
"""Method, and path with its query."""


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with `times` requests that match, after `skip` that do not suffer."""

    kind: FaultKind
    method: str = ""
    match: str = ""
    skip: int = 0
    times: int = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 10
    call: Callable[[], None] = lambda: None
    hits: int = 0

    def suits(self, method: str, target: str) -> bool:
        return self.method in ("", method) and re.search(self.match, target) is not None


class FaultyProxy:
    """A proxy that lives as long as its `with` block."""

    def __init__(self, port: int) -> None:
        """Forward to a server on loopback."""
        self.upstream = port
        self._lock = threading.Lock()
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.at_each: Callable[[int], bool] = _pass_on
        self._busy = 0
        self._storm: tuple[random.Random, float, tuple[FaultKind, ...]] | None = None
        self.suffered = 0
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, kind: FaultKind, method: str = "", match: str = "", **rest: object) -> Fault:
        """Queue a fault."""
        fault = Fault(kind=kind, method=method, match=match, **rest)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def reset(self) -> None:
        """Forget everything, for another test."""
        self.wait()
        self.faults, self.seen, self.at_each = [], [], _pass_on
        self._storm, self.suffered = None, 0

    def storm(self, seed: int, rate: float, kinds: tuple[FaultKind, ...]) -> None:
        """Have each request suffer, with a probability, one of several faults; `suffered` counts them."""
        self._storm = (random.Random(seed), rate, kinds)

    def wait(self) -> None:
        """Wait until the server is done with everything that was passed on."""
        while self._busy:
            time.sleep(0.001)

    def requests(self, method: str = "", match: str = "") -> list[Seen]:
        """What was asked so far."""
        with self._lock:
            return [seen for seen in self.seen if method in ("", seen[0]) and re.search(match, seen[1])]

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Passing a request on."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def note(self, method: str, target: str) -> Fault | None:
        """Remember a request, and say what is to go wrong with it.

        `at_each` is told its number, from one, and may say that the connection is to be reset instead.
        """
        with self._lock:
            self.seen.append((method, target))
            number = len(self.seen)
            chosen = None
            for fault in self.faults:
                if fault.times > 0 and fault.suits(method, target):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    fault.hits += 1
                    chosen = fault
                    break
            if self._storm is not None:
                generator, rate, kinds = self._storm
                if generator.random() < rate:
                    self.suffered += 1
                    chosen = Fault(kind=generator.choice(kinds), body=refusal("SlowDown"))
        return chosen if self.at_each(number) else Fault(kind="refuse")


def _pass_on(number: int) -> bool:
    return True


def refusal(code: str, message: str = "no") -> bytes:
    """An S3 server's error document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        "<Resource>/</Resource><RequestId>1</RequestId><HostId>1</HostId></Error>"
    ).encode()


def listing(place: Bucket, keys: list[str], truncated: bool = False) -> bytes:
    """An S3 server's answer to a request for a list."""
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&#34;0123456789abcdef0123456789abcdef&#34;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    following = "<NextContinuationToken>x</NextContinuationToken>" if truncated else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{place.name}</Name><IsTruncated>{str(truncated).lower()}</IsTruncated>{following}{entries}"
        "</ListBucketResult>"
    ).encode()


XML = {"Content-Type": "application/xml"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or are killed, are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        super().finish()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed, and the server would wait for the rest
            self._hang_up()
            return
        with self.server.proxy.passing():
            self._pass(body)

    def _pass(self, body: bytes) -> None:
        proxy = self.server.proxy
        fault = proxy.note(self.command, self.path)
        kind = fault.kind if fault else None
        if fault is None:
            self._answer(*self._forwarded(body))
        elif kind == "status":
            self._answer(fault.status, dict(XML) | dict(fault.headers), fault.body)
        elif kind == "silent":
            self.connection.settimeout(20)
            with suppress(OSError):
                self.connection.recv(1)  # until the client hangs up
            self._hang_up()
        elif kind == "refuse":
            self._hang_up()
        elif kind == "flip-request":
            self._answer(*self._forwarded(_flipped(body, fault.after)))
        else:
            fault.call()
            status, headers, content = self._forwarded(body)
            if kind == "lost":
                self._hang_up()
            elif kind == "replace":
                self._answer(fault.status, dict(XML) | dict(fault.headers), fault.body)
            elif kind in ("reset", "short"):
                self._send_head(status, headers, len(content))
                self.wfile.write(content[: min(fault.after, max(0, len(content) - 1))])
                self.wfile.flush()
                self._hang_up(abruptly=kind == "reset")
            elif kind == "wrong-range":
                self._answer(status, headers | {"Content-Range": "bytes 7-9/10"}, content)
            elif kind == "not-partial":
                headers.pop("Content-Range", None)
                self._answer(200, headers, content)
            elif kind == "flip":
                self._answer(status, headers, _flipped(content, fault.after))
            else:
                self._answer(status, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        for last in (False, True):
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection("127.0.0.1", self.server.proxy.upstream, timeout=30)
            try:
                self.upstream.request(self.command, self.path, body=body or None, headers=headers)
                response = self.upstream.getresponse()
                content = response.read()
                return response.status, dict(response.getheaders()), content
            except (OSError, http.client.HTTPException):
                self.upstream.close()
                self.upstream = None
                if last:
                    self._hang_up()
                    raise
        raise AssertionError("the last try returns or raises")

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self._send_head(status, headers, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _send_head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response_only(status)
        given = {name.lower() for name in headers}
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        if self.command == "HEAD" and "content-length" in given:  # which is of the body that a GET would have
            length = int(next(value for name, value in headers.items() if name.lower() == "content-length"))
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _hang_up(self, abruptly: bool = True) -> None:
        self.close_connection = True
        if abruptly:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # or the server would end it in good order before


def _flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[min(at, len(changed) - 1)] ^= 1
    return bytes(changed)


@pytest.fixture(scope="module")
def running_proxy(minio):
    with FaultyProxy(minio.port) as proxy:
        yield proxy


@pytest.fixture
def proxy(request, running_proxy, bucket_store, monkeypatch):
    """The server of `bucket_store` behind a proxy, and a client that has little patience."""
    monkeypatch.setattr(s3_tries, "FIRST_WAIT_S", 0.002)
    monkeypatch.setattr(s3_tries, "PATIENCE_S", 0.02)
    # A busy machine answers late, too: only those wait briefly that wait in vain.
    monkeypatch.setattr(s3_client, "READ_TIMEOUT_S", 0.3 if "no answer" in request.node.name else 5.0)
    s3_client.connect.cache_clear()
    running_proxy.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_proxy.url)
    yield running_proxy
    running_proxy.reset()
    s3_client.connect.cache_clear()
