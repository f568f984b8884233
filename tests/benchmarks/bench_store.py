"""How fast weights move between MinIO, the hub and this machine, beside plain clients that move the same bytes.

    python tests/benchmarks/bench_store.py [--parameters 0.5e9] [--runs 3] [--folder DIR]

A MinIO server and a stand-in for the hub run on loopback, so that the servers' own work is in every row: the rows
compare clients, not networks. Rows take turns. Nothing is asserted about time. MinIO is found as the tests find it;
without it nothing is measured.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import machine
from generate import BF16_BYTES, ROLES, Llama, generate, size
from measure import Measured, run
from table import GB, markdown

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
CLIENTS = ("minio", "obstore")
WORK = {"save": "hub → store", "transfer": "transfer, store → store", "fetch": "store → scratch folder"}

sys.path.insert(0, str(ROOT))

from tests.support.minio_server import BUCKET, KEY, NO_MINIO, SECRET, MinioServer, find_minio  # noqa: E402 - found there


class Place:
    """The two servers, and what is in them."""

    def __init__(self, folder: Path, inputs: Path, program: Path) -> None:
        from tests.support.fakehub import FakeHub

        self._folder, self._inputs = folder, inputs
        self._minio = MinioServer(program, folder / "minio")
        self._minio.start()
        self.environment = {
            "AWS_ENDPOINT_URL_S3": self._minio.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "RECYCLE_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
        }
        os.environ.update(self.environment)
        from components.s3.client import client

        client().make_bucket(BUCKET)
        self._bucket = BUCKET
        self._hub = FakeHub()
        self._hub.__enter__()
        self._commit = self._hub.add("org/target", inputs / ROLES[-1])
        self.environment |= {"HF_ENDPOINT": self._hub.url}
        self._number = 0

    def end(self) -> None:
        self._hub.__exit__(None, None, None)
        self._minio.kill()

    def fill(self) -> dict[str, str]:
        """Save the three into a store of their own; their prefixes in the bucket by role."""
        from components.references.save import save_checkpoint
        from components.store.store import open_store

        os.environ["RECYCLE_STORE"] = f"s3://{self._bucket}/filled"
        saved = {role: save_checkpoint(str(self._inputs / role), open_store()) for role in ROLES}
        return {role: found.uri for role, found in saved.items()}

    def ours(self, work: str, uris: dict[str, str]) -> Measured:
        """One run, into a store that has the inputs and nothing of the result."""
        from components.s3.bucket import Bucket

        if work == "save":
            self._number += 1
            store, references = f"s3://{self._bucket}/empty-{self._number}", ["org/target"]
        else:
            store, references = f"s3://{self._bucket}/filled", list(uris.values())
            if work == "fetch":
                references = references[-1:]
            for entry in Bucket.at(store).objects():
                if "transfer" in entry.key:
                    Bucket.at(store).delete(entry.key)
        shutil.rmtree(self._folder / "home", ignore_errors=True)
        return self._run([str(PROGRAMS / "store.py"), work], references, store)

    def plain(self, client: str, work: str, uris: dict[str, str]) -> Measured:
        """One run of a plain client."""
        prefixes = [uri.split("/", 3)[3] + "/" for uri in uris.values()]
        if work == "save":
            names = sorted(path.name for path in (self._inputs / ROLES[-1]).glob("*.safetensors"))
            sources = [f"{self._hub.url}/org/target/resolve/{self._commit}", *names]
        else:
            sources = prefixes if work == "transfer" else prefixes[-1:]
        return self._run([str(PROGRAMS / "plain.py"), client, work], sources, f"s3://{self._bucket}/plain")

    def _run(self, program: list[str], sources: list[str], store: str) -> Measured:
        output = self._folder / "out"
        environment = self.environment | {"RECYCLE_STORE": store}
        measured = run([sys.executable, *program, str(output), *sources], output, environment)
        shutil.rmtree(output)
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the store beside plain clients.")
    parser.add_argument("--parameters", type=lambda text: int(float(text.replace("_", ""))), default=500_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        program = find_minio(Path(place))
        if program is None:
            print(f"The store is not measured: {NO_MINIO}")
        else:
            compare(Path(place), Llama.of(arguments.parameters), program, arguments.runs)


def compare(folder: Path, llama: Llama, program: Path, runs: int) -> None:
    """All work by all clients, in turns."""
    clients = [client for client in CLIENTS if importlib.util.find_spec(client)]
    machine.need_space(folder, 12 * size(llama.tensors) * BF16_BYTES)
    place = Place(folder, generate(folder / "inputs", llama), program)
    measured: dict[tuple[str, str], list[Measured]] = {}
    try:
        uris = place.fill()
        for _ in range(runs):
            for work in WORK:
                machine.warm(folder.glob("minio/**/part.*"))
                for client in clients:
                    measured.setdefault((work, client), []).append(place.plain(client, work, uris))
                measured.setdefault((work, "recycle"), []).append(place.ours(work, uris))
                print(f"  {work} done", file=sys.stderr)
    finally:
        place.end()
    print(f"{machine.describe(folder)}\n{size(llama.tensors) / 1e9:.2f} B parameters in bfloat16 a checkpoint\n")
    print(markdown(("", "s", "min–max", "× fastest plain", "peak GB"), list(_lines(measured, clients))))


def _lines(measured: dict[tuple[str, str], list[Measured]], clients: list[str]) -> "list[list[str]]":
    lines = []
    for work, name in WORK.items():
        fastest = min(median(run.seconds for run in measured[work, client]) for client in clients)
        for client in ("recycle", *clients):
            runs = measured[work, client]
            wall = [run.seconds for run in runs]
            lines.append(
                [
                    f"{name}: {client if client == 'recycle' else f'plain, {client}'}",
                    f"{median(wall):.2f}",
                    f"{min(wall):.2f}–{max(wall):.2f}",
                    f"{median(wall) / fastest:.2f}",
                    f"{max(run.peak for run in runs) / GB:.2f}",
                ]
            )
    return lines


main()
