"""A MinIO server of the test session, on loopback, and a fresh store in it for each test that asks for one.

The program is found in RECYCLE_TEST_MINIO, on the PATH, or packed beside the repository; without it the tests that
need a server are skipped, and say so.
"""

import itertools
import lzma
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import pytest

from components.s3.bucket import Bucket

KEY, SECRET = "recycle", "not-a-secret-1"
BUCKET = "tests"
PACKED = Path(__file__).parents[3] / "shared" / "cluster" / "bin" / "minio.xz"
NO_MINIO = "there is no MinIO: put `minio` on the PATH, or set RECYCLE_TEST_MINIO to it"
START_S = 60.0

_numbers = itertools.count(1)


@dataclass
class MinioServer:
    """One server process over a folder, which survives it."""

    program: Path
    folder: Path
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def start(self) -> None:
        """Start it, on the port it had before if there was one, and wait until it answers."""
        self.port = self.port or _free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "server", self.folder, "--address", f"127.0.0.1:{self.port}", "--quiet"],
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(self.folder.parent),
                    "MINIO_ROOT_USER": KEY,
                    "MINIO_ROOT_PASSWORD": SECRET,
                    "MINIO_BROWSER": "off",
                    "MINIO_UPDATE": "off",
                    "GOMAXPROCS": "2",
                    **self.environment,
                },
            )
        self._wait()

    def kill(self) -> None:
        """As `kill -9` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(
                    f"MinIO ended: {self.folder.with_name(f'{self.folder.name}.log').read_text()[-2000:]}"
                )
            try:
                with urllib.request.urlopen(f"{self.endpoint}/minio/health/ready", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        self.kill()
        raise RuntimeError("MinIO does not answer")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def find_minio(folder: Path) -> Path | None:
    """The MinIO program; one that is packed is unpacked into `folder`."""
    named = os.environ.get("RECYCLE_TEST_MINIO") or shutil.which("minio")
    if named or not PACKED.is_file():
        return Path(named) if named else None
    program = folder / "minio-program"
    with lzma.open(PACKED) as packed, program.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def minio_program(tmp_path_factory):
    """The MinIO program, or the test is skipped."""
    return find_minio(tmp_path_factory.mktemp("bin")) or pytest.skip(NO_MINIO)


@pytest.fixture(scope="session")
def minio(minio_program, tmp_path_factory):
    """The server of the session; who kills one starts one of their own."""
    server = MinioServer(minio_program, tmp_path_factory.mktemp("minio") / "data")
    server.start()
    yield server
    server.kill()


def use_server(server: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this test at a server, with credentials that it takes."""
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def make_bucket(name: str) -> None:
    """Make a bucket on the server that this test uses, unless it is there.

    A server that calls itself ready may still refuse its first requests with a 503.
    """
    from minio.error import MinioException

    from components.s3.client import client

    deadline = time.monotonic() + START_S
    while True:
        try:
            if not client().bucket_exists(name):
                client().make_bucket(name)
        except MinioException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def bucket_store(minio, tmp_path, monkeypatch):
    """A fresh prefix of a bucket, which is this test's store."""
    use_server(minio, monkeypatch)
    make_bucket(BUCKET)
    place = Bucket(BUCKET, f"store-{next(_numbers)}")
    monkeypatch.setenv("RECYCLE_STORE", place.uri)
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "home"))
    return place
