"""A hub for tests: HTTP servers of our own that answer a real `huggingface_hub` client as the Hub does.

The shapes are those that the client's source reads and that the Hub's API documents: model descriptions with
`siblings`, references, commits, lists of models with a link to the next page, `resolve` with a redirect to a storage
host for LFS files and a relative one for small files, `X-Error-Code` on refusals. One server is the hub (127.0.0.1),
another its storage (localhost, another port), so that what is sent to which host can be told apart. Faults are queued
with `fail`. A repository `datasets/org/name` is the dataset `org/name`.
"""

import functools
import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from huggingface_hub import close_session

LFS_SUFFIXES = (".safetensors", ".bin", ".model", ".pt", ".parquet")

DATE = "2025-01-02T03:04:05.000Z"

NAME = r"(?:datasets/)?[^/]+/[^/]+"

FaultKind = Literal[
    "status", "reset", "short", "long", "cut", "flip", "whole", "wrong-range", "gzip", "stall", "trickle"
]


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with the next `times` requests whose path contains `path`, on the hub or on its storage."""

    kind: FaultKind
    path: str
    times: int = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int | None = None
    """Bytes of the body that are still sent, for `reset`, `short`, `stall` and, if it is to break off, `whole`."""
    storage: bool | None = None
    """Only on the storage host, only on the hub, or on either."""
    range: str = ""
    """Only where the range that is asked for begins so, for example `bytes=1000-`."""

    def hits(self, seen: "Seen") -> bool:
        """Whether it is a request's turn to go wrong."""
        asked = seen.headers.get("range", "")
        there = self.path in seen.path and self.storage in (None, seen.storage) and asked.startswith(self.range)
        return there and self.times > 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as a server saw it."""

    storage: bool
    path: str
    headers: dict[str, str]


@dataclass(kw_only=True)
class Repo:
    """A model repository: its commits are folders."""

    commits: dict[str, Path] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    license: str | None = None
    card: Mapping[str, object] = field(default_factory=dict)
    """What else the front matter of its README says."""
    dates: dict[str, str] = field(default_factory=dict)
    """By commit."""
    model_tags: tuple[str, ...] = ()
    """What a list can be filtered by."""


class FakeHub:
    """A hub that lives as long as its `with` block.

    Example:
        with FakeHub() as hub:
            hub.add("org/model", folder)
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
    """

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self.reset()
        self._servers = [_Server(self, storage=storage) for storage in (False, True)]
        self.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.storage_url = f"http://localhost:{self._servers[1].server_port}"

    def __enter__(self) -> "FakeHub":
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def reset(self) -> None:
        """Forget everything, for another test."""
        self.repos: dict[str, Repo] = {}
        self.tokens: dict[str, set[str]] = {}
        """The tokens that are valid, and the private or gated repositories that each may read."""
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.siblings: list[dict[str, object]] | None = None
        """Listed instead of the files, for a hub that lies."""
        self.page = 1000
        """Models that a list gives at once, at most."""

    def add(
        self,
        name: str,
        folder: Path,
        *,
        branch: str = "main",
        tag: str | None = None,
        private: bool = False,
        gated: bool = False,
        license: str | None = None,
        card: Mapping[str, object] | None = None,
        date: str = DATE,
        model_tags: tuple[str, ...] = (),
    ) -> str:
        """Serve `folder` as the newest commit of a branch; returns the commit, which its files decide."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        content = [(path.relative_to(folder).as_posix(), _sha256(path)) for path in files]
        commit = hashlib.sha1(repr(content).encode()).hexdigest()
        repo = self.repos.setdefault(name, Repo())
        repo.commits[commit] = folder
        repo.dates[commit], repo.model_tags = date, model_tags
        repo.branches[branch] = commit
        if tag:
            repo.tags[tag] = commit
        repo.private, repo.gated, repo.license, repo.card = private, gated, license, card or {}
        return commit

    def fail(self, kind: FaultKind, path: str, **rest: object) -> Fault:
        """Queue a fault; its `times` counts down to 0."""
        fault = Fault(kind=kind, path=path, **rest)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def requests(self, path: str, *, storage: bool | None = None) -> list[Seen]:
        """The requests so far whose path contains `path`."""
        with self._lock:
            return [seen for seen in self.seen if path in seen.path and storage in (None, seen.storage)]

    def note(self, seen: Seen) -> Fault | None:
        """Remember a request, and say what is to go wrong with it."""
        with self._lock:
            self.seen.append(seen)
            for fault in self.faults:
                if fault.hits(seen):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: FakeHub, *, storage: bool) -> None:
        self.hub, self.storage = hub, storage
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        # A request through a proxy names the whole URL.
        url = urlsplit(self.path)
        self.hub, self.fault = self.server.hub, None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fault = self.hub.note(Seen(storage=self.server.storage, path=unquote(url.path), headers=headers))
        if self.fault and self.fault.kind == "status":
            self._send(self.fault.status, self.fault.body, self.fault.headers)
        elif self.server.storage:
            self._stored(url.path.removeprefix("/xet-bridge-us/"))
        elif self._known_token():
            self._hub(url.path)

    def _hub(self, path: str) -> None:
        if path == "/api/models":
            self._list()
            return
        routes: tuple[tuple[str, Callable[..., None]], ...] = (
            (r"/api/models/(?P<name>.+)/revision/(?P<revision>[^/]+)", self._describe),
            (r"/api/(?P<name>datasets/.+)/revision/(?P<revision>[^/]+)", self._describe),
            (r"/api/models/(?P<name>.+)/refs", self._refs),
            (r"/api/models/(?P<name>.+)/commits/(?P<revision>[^/]+)", self._commits),
            (rf"/api/resolve-cache/models/(?P<name>{NAME})/(?P<revision>[^/]+)/(?P<file>.+)", self._resolve_cache),
            (rf"/(?P<name>{NAME})/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self._resolve),
        )
        for pattern, answer in routes:
            if found := re.fullmatch(pattern, path):
                parts = {key: unquote(value) for key, value in found.groupdict().items()}
                repo = self._repo(parts.pop("name"))
                if repo:
                    answer(*repo, **parts)
                return
        self._refuse(404, "", "Not found")

    def _known_token(self) -> bool:
        token = self._token()
        if token is not None and token not in self.hub.tokens:
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return False
        return True

    def _token(self) -> str | None:
        value = self.headers.get("Authorization")
        return value.removeprefix("Bearer ") if value else None

    def _may_read(self, name: str) -> bool:
        return name in self.hub.tokens.get(self._token() or "", ())

    def _repo(self, name: str) -> tuple[str, Repo] | None:
        repo = self.hub.repos.get(name)
        if repo and not (repo.private and not self._may_read(name)):
            return name, repo
        if self._token():
            self._refuse(404, "RepoNotFound", "Repository not found")
        else:
            self._refuse(401, "", "Invalid username or password.")
        return None

    def _commit(self, repo: Repo, revision: str) -> str | None:
        commit = repo.branches.get(revision) or repo.tags.get(revision) or revision
        if commit in repo.commits:
            return commit
        self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def _describe(self, name: str, repo: Repo, revision: str) -> None:
        if not (commit := self._commit(repo, revision)):
            return
        folder = repo.commits[commit]
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        listed = [_sibling(path, path.relative_to(folder).as_posix(), blobs) for path in paths]
        self._json(
            {
                "_id": "0" * 24,
                "id": name,
                "modelId": name,
                "author": name.split("/")[0],
                "sha": commit,
                "lastModified": repo.dates[commit],
                "private": repo.private,
                "gated": "manual" if repo.gated else False,
                "disabled": False,
                "tags": ["transformers", "safetensors"] + ([f"license:{repo.license}"] if repo.license else []),
                "cardData": {**repo.card, **({"license": repo.license} if repo.license else {})},
                "siblings": listed if self.hub.siblings is None else self.hub.siblings,
            }
        )

    def _refs(self, name: str, repo: Repo) -> None:
        def listed(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": ref, "ref": f"refs/{kind}/{ref}", "targetCommit": refs[ref]} for ref in refs]

        self._json({"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": []})

    def _commits(self, name: str, repo: Repo, revision: str) -> None:
        if commit := self._commit(repo, revision):
            made = {"id": commit, "title": "Upload", "message": "", "date": repo.dates[commit]}
            self._json([made | {"authors": [{"user": "someone", "avatar": ""}]}])

    def _list(self) -> None:
        """Models, newest first, as `list_models` asks for them; the next page is behind a link."""
        query = parse_qs(urlsplit(self.path).query)
        author, tags = query.get("author", [""])[0], query.get("filter", [])
        found = [
            (repo.dates[repo.branches["main"]], name, repo)
            for name, repo in self.hub.repos.items()
            if name.startswith(f"{author}/") and "main" in repo.branches and set(tags) <= set(repo.model_tags)
            if not repo.private or self._may_read(name)
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        start, size = int(query.get("cursor", ["0"])[0]), min(int(query.get("limit", ["1000"])[0]), self.hub.page)
        fields = {
            "sha": lambda repo: repo.branches["main"],
            "lastModified": lambda repo: repo.dates[repo.branches["main"]],
        }
        listed = [
            {"_id": "0" * 24, "id": name, "modelId": name}
            | {field: fields[field](repo) for field in query.get("expand", [])}
            for _, name, repo in found[start : start + size]
        ]
        rest = {**query, "cursor": [str(start + size)]}
        link = f'<{self.hub.url}/api/models?{urlencode(rest, doseq=True)}>; rel="next"'
        more = {"Link": link} if start + size < len(found) else {}
        self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json; charset=utf-8"} | more)

    def _resolve(self, name: str, repo: Repo, revision: str, file: str) -> None:
        if repo.gated and not self._may_read(name):
            self._refuse(403 if self._token() else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif commit := self._commit(repo, revision):
            path = repo.commits[commit] / file
            if not path.is_file():
                self._refuse(404, "EntryNotFound", "Entry not found")
            elif file.endswith(LFS_SUFFIXES):
                link = f"{self.hub.storage_url}/xet-bridge-us/{name}/{commit}/{file}?X-Amz-Signature=secret-of-the-link"
                linked = {"X-Linked-Size": str(path.stat().st_size), "X-Linked-ETag": f'"{_sha256(path)}"'}
                self._send(302, b"", {"Location": link, "X-Repo-Commit": commit, **linked})
            else:
                location = f"/api/resolve-cache/models/{name}/{commit}/{file}"
                self._send(307, b"", {"Location": location, "X-Repo-Commit": commit})

    def _resolve_cache(self, name: str, repo: Repo, revision: str, file: str) -> None:
        self._content(repo.commits[revision] / file, _blob(repo.commits[revision] / file), revision)

    def _stored(self, path: str) -> None:
        stored = re.fullmatch(rf"({NAME})/([0-9a-f]{{40}})/(.+)", unquote(path))
        assert stored
        name, commit, file = stored.groups()
        self._content(self.hub.repos[name].commits[commit] / file, f"{name.split('/')[0]}-{file}")

    def _content(self, path: Path, etag: str, commit: str = "") -> None:
        size, fault = path.stat().st_size, self.fault.kind if self.fault else None
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"} | ({"X-Repo-Commit": commit} if commit else {})
        if fault == "gzip":
            # The hub leaves the range out of account when it compresses.
            headers["Content-Encoding"] = "gzip"
        if not asked or fault in ("whole", "gzip"):
            return self._send(200, path.read_bytes(), headers)
        start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
        if start >= size:
            return self._send(416, b"", {"Content-Range": f"bytes */{size}"})
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(end + 1 - start)
        named = start + 1 if fault == "wrong-range" else start
        return self._send(206, content, headers | {"Content-Range": f"bytes {named}-{end}/{size}"})

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"} | (
            {"X-Error-Code": code} if code else {}
        )
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        fault = self.fault
        if fault and fault.kind == "long":
            body += b"more"
        if fault and fault.kind == "cut":
            body = body[:-1]
        if fault and fault.kind == "flip" and status in (200, 206):
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.kind == "trickle" and status in (200, 206):
            self._trickle(body)
        elif fault and fault.after is not None and status in (200, 206):
            self._break_off(fault, body[: fault.after])
        else:
            self.wfile.write(body)

    def _trickle(self, body: bytes) -> None:
        for byte in body:
            self.wfile.write(bytes([byte]))
            if self.hub.closing.wait(0.01):
                break

    def _break_off(self, fault: Fault, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True
        if fault.kind == "stall":
            self.hub.closing.wait(5)
        elif fault.kind == "reset":
            # Closing with a linger time of 0 sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())


def _sibling(path: Path, name: str, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": name}
    size = path.stat().st_size
    if not name.endswith(LFS_SUFFIXES):
        return {"rfilename": name, "size": size, "blobId": _blob(path)}
    sha256 = _sha256(path)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    lfs = {"sha256": sha256, "size": size, "pointerSize": len(pointer)}
    return {"rfilename": name, "size": size, "blobId": _git_blob(pointer), "lfs": lfs}


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns)


@functools.cache
def _sha256_of(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob(path: Path) -> str:
    return _git_blob(path.read_bytes())


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture(scope="module")
def server():
    """The hub of a module's tests. Making the client takes longer than most tests: it is made once, with no proxy."""
    with pytest.MonkeyPatch.context() as environment, FakeHub() as hub:
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                environment.delenv(name)
        close_session()
        yield hub
        close_session()
