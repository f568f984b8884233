"""The same bytes moved by a plain client, with no arithmetic, no digests and no care for failures.

python plain.py {minio,obstore} {save,transfer,fetch} OUTPUT SOURCE...

A source is a prefix in the bucket, or for `save` a URL with the names of files after it.
"""

import os
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

PART = 16 << 20
THREADS = 8


class Minio:
    """The client that Recycle uses."""

    def __init__(self) -> None:
        import urllib3
        from minio import Minio as Client

        pool = urllib3.PoolManager(maxsize=32)
        self._bucket = urlsplit(os.environ["RECYCLE_STORE"]).netloc
        self._client = Client(
            urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc,
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            secure=False,
            region="us-east-1",
            http_client=pool,
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        return {str(entry.object_name): int(entry.size or 0) for entry in found}

    def read(self, key: str, start: int, length: int) -> bytes:
        response = self._client.get_object(self._bucket, key, offset=start, length=length)
        try:
            return response.read()
        finally:
            response.release_conn()

    def write(self, key: str, size: int, part: Callable[[int, int], bytes], pool: ThreadPoolExecutor) -> None:
        from minio.datatypes import Part

        upload = self._client._create_multipart_upload(self._bucket, key, {})

        def one(start: int) -> Part:
            data, number = part(start, min(PART, size - start)), start // PART + 1
            return Part(number, self._client._upload_part(self._bucket, key, data, None, upload, number))

        parts = list(pool.map(one, range(0, size, PART)))
        self._client._complete_multipart_upload(self._bucket, key, upload, parts)


class Obstore:
    """A client written in Rust."""

    def __init__(self) -> None:
        import obstore
        from obstore.store import S3Store

        self._obstore = obstore
        self._store = S3Store(
            urlsplit(os.environ["RECYCLE_STORE"]).netloc,
            endpoint=os.environ["AWS_ENDPOINT_URL_S3"],
            access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
            secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        return {entry["path"]: entry["size"] for page in self._obstore.list(self._store, prefix) for entry in page}

    def read(self, key: str, start: int, length: int) -> memoryview:
        return memoryview(self._obstore.get_range(self._store, key, start=start, length=length))

    def write(self, key: str, size: int, part: Callable[[int, int], bytes], pool: ThreadPoolExecutor) -> None:
        starts = range(0, size, PART)
        # A few at a time, so that memory is bounded as that of the others is.
        ahead = threading.Semaphore(2 * THREADS)

        def one(start: int) -> bytes:
            ahead.acquire()
            return part(start, min(PART, size - start))

        def parts():
            for data in pool.map(one, starts):
                ahead.release()
                yield data

        self._obstore.put(self._store, key, parts(), chunk_size=PART, max_concurrency=THREADS)


def main() -> None:
    kind, work, output, *sources = sys.argv[1:]
    client = {"minio": Minio, "obstore": Obstore}[kind]()
    folder = Path(output)
    folder.mkdir()
    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(THREADS) as readers:
        {"save": save, "transfer": transfer, "fetch": fetch}[work](client, folder, sources, pool, readers)


def save(client: Minio | Obstore, folder: Path, sources: list[str], pool: ThreadPoolExecutor, *_: object) -> None:
    url, *names = sources
    for name in names:
        first = urllib.request.Request(f"{url}/{name}", headers={"Range": "bytes=0-0"})
        with urllib.request.urlopen(first) as response:
            size = int(response.headers["Content-Range"].rpartition("/")[2])

        def part(start: int, length: int, name: str = name) -> bytes:
            headers = {"Range": f"bytes={start}-{start + length - 1}"}
            with urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", headers=headers)) as response:
                return response.read()

        client.write(f"plain/{os.getpid()}/{name}", size, part, pool)


def transfer(
    client: Minio | Obstore, folder: Path, sources: list[str], pool: ThreadPoolExecutor, readers: ThreadPoolExecutor
) -> None:
    *others, last = [
        [(key, size) for key, size in sorted(client.sizes(prefix).items()) if key.endswith(".safetensors")]
        for prefix in sources
    ]
    for number, (key, size) in enumerate(last):
        beside = [files[number][0] for files in others]

        def part(start: int, length: int, key: str = key, beside: list[str] = beside) -> bytes:
            for other in beside:
                client.read(other, start, length)
            return client.read(key, start, length)

        client.write(f"plain/{os.getpid()}/{number}", size, part, pool)


def fetch(client: Minio | Obstore, folder: Path, sources: list[str], pool: ThreadPoolExecutor, *_: object) -> None:
    for key, size in client.sizes(sources[0]).items():
        descriptor = os.open(folder / key.rsplit("/", 1)[-1], os.O_CREAT | os.O_WRONLY)

        def one(start: int, key: str = key, size: int = size, descriptor: int = descriptor) -> None:
            os.pwrite(descriptor, client.read(key, start, min(PART, size - start)), start)

        list(pool.map(one, range(0, size, PART)))
        os.fsync(descriptor)
        os.close(descriptor)


main()
