"""Killed at any request, ours or the server, or full: nothing incomplete is visible, and a rerun ends the same."""

import errno
import hashlib
import multiprocessing
import os
import re
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from minio.error import ServerError

from components.checkpoints.description import verify
from components.checkpoints.manifest import MANIFEST, Checkpoint, File, content_digest
from components.errors import (
    BadCheckpoint,
    DigestMismatch,
    OutputConflict,
    RecycleError,
    ServiceUnavailable,
    StorageFull,
)
from components.references.save import save_checkpoint
from components.s3 import client as s3_client
from components.s3 import retries as s3_tries
from components.s3.bucket import Bucket
from components.sources.folder import FolderSource
from components.store import copying
from components.store.locate import local_copy
from components.store.store import open_store
from components.system.direct_io import ShardFile
from components.transfer.scale import parse_scale
from components.transfer.shards import ROLES
from components.transfer.transfer import transfer_in_store
from tests.support.faulty_proxy import FaultyProxy, proxy, refusal, running_proxy  # noqa: F401 - fixtures
from tests.support.minio_server import BUCKET, MinioServer, make_bucket, use_server
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint, read_weights, write_weights

slow = pytest.mark.slow  # a run for each request at which one may be killed

# ruff: noqa: F811 - fixtures are imported, and asked for by name

BLOCK = 5 << 20


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three releases of a little over 5 MiB, which are uploaded in parts."""
    folder = tmp_path_factory.mktemp("models")
    return [
        make_checkpoint(folder / name, seed=seed, hidden=512, layers=1, rows=700, chat_template=None)
        for seed, name in enumerate(("base", "tuned", "target"))
    ]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(copying, "BLOCK", BLOCK)


@pytest.fixture
def saved(models, bucket_store):
    """The three, in the store."""
    store = open_store()
    return {role: save_checkpoint(str(model), store) for role, model in zip(ROLES, models, strict=True)}


def transfer(saved):
    checkpoint, _ = transfer_in_store(saved, scale=parse_scale("1"), dtype="auto", store=open_store())
    return checkpoint


def clone(place, name):
    """A copy of a store under another prefix, made by the server."""
    copied = Bucket(place.name, f"{place.prefix}-{name}")
    for entry in place.objects():
        copied.copy(place, entry.key, entry.key)
    return copied


def visible():
    """Digests of what the store shows, every byte of which is read."""
    store = open_store()
    found = checkpoints_in(store)
    assert {verify(store.source(checkpoint)).digest for checkpoint in found} == {entry.digest for entry in found}
    return {entry.digest for entry in found}


def leftovers(place):
    """Notes, and uploads of every key there is."""
    entries = place.objects("checkpoints/")
    keys = {entry.key.replace("/.draft/", "/").removesuffix(".upload").removesuffix(".finished") for entry in entries}
    return [entry.key for entry in entries if "/.draft/" in entry.key], [key for key in keys if place.uploads(key)]


class Killer:
    """Runs work in a child, and kills it at a request."""

    def __init__(self, proxy):
        self.proxy = proxy

    def requests(self, work):
        """Those of work that nothing happens to."""
        self.proxy.reset()
        work()
        return self.proxy.requests()

    def run(self, work, at):
        """The child dies at request number `at`, and every other time the server never sees that one."""
        started = threading.Event()
        self.proxy.reset()
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(work,))

        def kill(number):
            started.wait()
            if number == at:
                os.kill(child.pid, signal.SIGKILL)
                return at % 2 == 0
            return True

        self.proxy.at_each = kill
        child.start()
        started.set()
        child.join()
        self.proxy.reset()


def _in_child(work):
    s3_client.connect.cache_clear()  # connections are the parent's
    work()


@pytest.fixture
def killer(proxy):
    return Killer(proxy)


def sweep():
    """As `recycle store gc --delete` a day later."""
    for garbage in open_store().garbage(datetime.now(UTC) + timedelta(hours=1)):
        garbage.remove()


POINTS = ["some", pytest.param("all", marks=[slow, pytest.mark.timeout(900)])]
SAVE = [
    ("GET", "results/saved"),
    ("POST", r"\?uploads"),
    ("PUT", "partNumber=2"),
    ("POST", "uploadId"),
    ("PUT", r"safetensors\.finished$"),
    ("PUT", r"checkpoint\.json$"),
    ("DELETE", r"\.draft/"),
]
TRANSFER = [("PUT", "partNumber=1"), ("PUT", r"safetensors\.finished$"), ("PUT", "digests/")]
"""Where the sample is taken: at the first request of each kind."""


def chosen(points, requests, kinds):
    """Numbers, from one, of the requests at which to kill."""
    if points == "all":
        return range(1, len(requests) + 1)

    def first(method, match):
        found = [number for number, seen in enumerate(requests, 1) if seen[0] == method and re.search(match, seen[1])]
        assert found, f"no {method} {match} in {requests}"
        return found[0]

    return [first(method, match) for method, match in kinds]


@pytest.mark.parametrize("points", POINTS)
def test_a_save_killed_at_any_request(killer, models, bucket_store, monkeypatch, points):
    def save():
        return save_checkpoint(str(models[0]), open_store())

    requests = killer.requests(save)
    (expected,) = visible()
    for point in chosen(points, requests, SAVE):
        place = Bucket(bucket_store.name, f"{bucket_store.prefix}-{point}")
        monkeypatch.setenv("RECYCLE_STORE", place.uri)
        killer.run(save, point)
        assert visible() <= {expected}, point
        was_visible = bool(visible())
        assert save().digest == expected, point
        assert leftovers(place) == ([], []) or was_visible, point
        sweep()
        assert visible() == {expected}, point
        assert leftovers(place) == ([], []), point


@pytest.mark.parametrize("points", POINTS)
def test_a_transfer_killed_at_any_request(killer, saved, bucket_store, monkeypatch, points):
    inputs = {checkpoint.digest for checkpoint in saved.values()}
    monkeypatch.setenv("RECYCLE_STORE", clone(bucket_store, "whole").uri)
    requests = killer.requests(lambda: transfer(saved))
    (expected,) = visible() - inputs
    for point in chosen(points, requests, TRANSFER):
        place = clone(bucket_store, str(point))
        monkeypatch.setenv("RECYCLE_STORE", place.uri)
        killer.run(lambda: transfer(saved), point)
        seen = visible()
        assert inputs <= seen <= inputs | {expected}, point
        assert transfer(saved).digest == expected, point
        assert leftovers(place) == ([], []) or expected in seen, point
        sweep()
        assert visible() == inputs | {expected}, point
        assert leftovers(place) == ([], []), point


@pytest.fixture
def other_order(tmp_path, bucket_store, saved):
    """The same three, but for the target, whose tensors lie in another order in other files than the others'."""
    weights = read_weights(make_checkpoint(tmp_path / "t", seed=2, hidden=512, layers=1, rows=700, chat_template=None))
    (tmp_path / "t" / "model.safetensors").unlink()
    write_weights(tmp_path / "t", dict(reversed(weights.items())), shards=4)
    return saved | {ROLES[2]: save_checkpoint(str(tmp_path / "t"), open_store())}


@slow
@pytest.mark.parametrize("order", ["saved", "other_order"])
def test_a_bit_flipped_in_any_range_of_an_input_is_found(proxy, bucket_store, request, order):
    parents = request.getfixturevalue(order)
    inputs = visible()
    ranges = r"\.safetensors$"
    proxy.reset()
    expected = transfer(parents).digest
    reads = len(proxy.requests("GET", ranges))
    outcomes = set()
    for number in range(1, reads, 3 if order == "saved" else 6):
        forget(bucket_store, expected)
        proxy.reset()
        proxy.fail("flip", "GET", ranges, skip=number, after=1 << 16)
        try:
            found = transfer(parents).digest
        except RecycleError as error:
            outcomes.add(type(error))
            assert visible() == inputs, number
        else:
            # One that changed nothing: in what is read of a header beyond its end, or of the result.
            assert found == expected, number
    assert DigestMismatch in outcomes
    proxy.reset()
    assert transfer(parents).digest == expected


def forget(place, digest):
    """Remove a published checkpoint, and what remembers it."""
    store = open_store()
    checkpoint = store.find(digest)
    if checkpoint is not None:
        place.delete(f"digests/{digest}")
        inside = Bucket.at(checkpoint.uri)
        for entry in inside.objects():
            inside.delete(entry.key)


@slow
@pytest.mark.parametrize("seed", range(4))
def test_a_storm(proxy, models, bucket_store, monkeypatch, seed):
    """One request of ten suffers something, and all ends as if none had."""
    monkeypatch.setattr(s3_tries, "PATIENCE_S", 5.0)
    proxy.storm(seed, rate=0.1, kinds=("status", "refuse", "lost", "reset", "short", "flip-request", "not-partial"))
    store = open_store()
    saved = {role: save_checkpoint(str(model), store) for role, model in zip(ROLES, models, strict=True)}
    made = transfer(saved)
    suffered = proxy.suffered
    proxy.reset()
    assert suffered >= 10
    assert visible() == {entry.digest for entry in saved.values()} | {made.digest}
    monkeypatch.setenv("RECYCLE_STORE", f"{bucket_store.uri}-calm")
    calm = {role: save_checkpoint(str(model), open_store()) for role, model in zip(ROLES, models, strict=True)}
    assert {entry.digest for entry in calm.values()} == {entry.digest for entry in saved.values()}
    assert transfer(calm).digest == made.digest


@slow
@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("PUT", "partNumber"),
        ("POST", "uploadId"),
        ("PUT", r"checkpoint\.json"),
        ("PUT", "digests/"),
        ("PUT", "config.json$"),
        ("GET", "list-type"),
        ("HEAD", "safetensors"),
    ],
)
@pytest.mark.parametrize("fault", ["503", "lost", "full"])
def test_what_cannot_be_written_is_not_visible_and_is_gone_on_from(proxy, models, bucket_store, method, match, fault):
    if fault == "lost":
        proxy.fail("lost", method, match, times=1000)
    else:
        code = {"503": "SlowDown", "full": "XMinioStorageFull"}[fault]
        proxy.fail("status", method, match, times=1000, status=507 if fault == "full" else 503, body=refusal(code))
    with pytest.raises(RecycleError) as failure:
        save_checkpoint(str(models[0]), open_store())
    proxy.reset()
    assert type(failure.value) is (StorageFull if fault == "full" and method != "HEAD" else ServiceUnavailable)
    # Once its index is written all of it is there, whoever did not get the answer.
    seen = visible()
    assert not seen or (fault, match) == ("lost", "digests/")
    saved = save_checkpoint(str(models[0]), open_store())
    assert visible() == {saved.digest}
    assert leftovers(bucket_store) == ([], []) or seen


@pytest.fixture
def mortal(minio_program, tmp_path, monkeypatch):
    """A server of one test, and a store in it."""
    server = MinioServer(minio_program, tmp_path / "mortal" / "data")
    server.start()
    use_server(server, monkeypatch)
    for _ in range(100):  # it says that it is ready a little before it is
        with suppress(ServerError):
            make_bucket(BUCKET)
            break
        time.sleep(0.05)
    monkeypatch.setenv("RECYCLE_STORE", f"s3://{BUCKET}/store")
    yield server
    server.kill()


@slow
@pytest.mark.parametrize("during", [True, False], ids=["during", "before"])
def test_a_server_that_is_killed_in_an_upload_and_comes_back(mortal, models, monkeypatch, during):
    first = save_checkpoint(str(models[1]), open_store())
    back = threading.Thread(target=mortal.start)

    def kill():
        mortal.kill()
        back.start()

    with FaultyProxy(mortal.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        call = threading.Timer(0.01, kill).start if during else kill
        proxy.fail("call", "PUT", "partNumber=2", call=call)
        saved = save_checkpoint(str(models[0]), open_store())
        back.join()
        assert visible() == {first.digest, saved.digest}


@slow
def test_a_server_that_does_not_come_back(mortal, models, monkeypatch):
    monkeypatch.setattr(s3_tries, "PATIENCE_S", 2.0)
    first = save_checkpoint(str(models[1]), open_store())
    with FaultyProxy(mortal.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        proxy.fail("call", "POST", "uploadId", call=mortal.kill)
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=r"complete model\.safetensors"):
            save_checkpoint(str(models[0]), open_store())
        assert time.monotonic() - started < 10
        mortal.start()
        assert visible() == {first.digest}
        proxy.reset()
        saved = save_checkpoint(str(models[0]), open_store())
        assert visible() == {first.digest, saved.digest}


@slow
class TestScratch:
    def test_no_room_is_told_before_anything_is_read(self, proxy, saved, monkeypatch):
        monkeypatch.setattr("components.store.scratch.free_bytes", lambda folder: 10)
        proxy.reset()
        with pytest.raises(StorageFull, match=r"needs .* free"), local_copy(saved[ROLES[0]], open_store()):
            pytest.fail("there was room")
        assert not proxy.requests("GET", "safetensors")

    def test_a_disk_that_becomes_full(self, saved, monkeypatch, tmp_path):
        real, writes = ShardFile.write, []

        def full(self, offset, data):
            writes.append(offset)
            if len(writes) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(self, offset, data)

        monkeypatch.setattr(ShardFile, "write", full)
        with pytest.raises(StorageFull, match="full"), local_copy(saved[ROLES[0]], open_store()):
            pytest.fail("there was room")
        assert list((tmp_path / "home" / "scratch").iterdir())  # a rerun goes on with it
        with local_copy(saved[ROLES[0]], open_store()) as folder:
            assert verify(FolderSource(path=folder)).digest == saved[ROLES[0]].digest
        assert not list((tmp_path / "home" / "scratch").iterdir())

    @pytest.mark.parametrize("kind", ["flip", "short", "not-partial"])
    def test_a_fault_on_the_way(self, proxy, saved, tmp_path, kind):
        proxy.reset()
        proxy.fail(kind, "GET", "safetensors$", after=70_000)
        if kind == "flip":
            with pytest.raises(DigestMismatch), local_copy(saved[ROLES[0]], open_store()):
                pytest.fail("it is damaged")
        with local_copy(saved[ROLES[0]], open_store()) as folder:
            assert verify(FolderSource(path=folder)).digest == saved[ROLES[0]].digest
        assert not list((tmp_path / "home" / "scratch").iterdir())


@slow
def test_a_file_that_is_replaced_between_two_ranges(proxy, saved, bucket_store, models):
    """By somebody else, in a checkpoint without a manifest, so that only its ETag tells."""
    place = bucket_store.under("foreign")
    for path in sorted(models[0].iterdir()):
        place.put(path.name, path.read_bytes())
    content = (models[1] / "model.safetensors").read_bytes()
    before = visible()
    proxy.fail("call", "GET", "model.safetensors$", skip=2, call=lambda: place.put("model.safetensors", content))
    with pytest.raises(BadCheckpoint, match=r"bytes \d+-\d+ of model.safetensors.*replaced"):
        save_checkpoint(place.uri, open_store())
    assert visible() == before


@slow
class TestTwoMachines:
    """The same work on two machines, which write at one place."""

    def test_what_one_published_the_other_does_not_change(self, bucket_store, models, monkeypatch, tmp_path):
        store = open_store()
        ours = store.writer(tmp_path / "save-x")
        theirs = store.writer(tmp_path / "save-x")
        first, other = bytes(BLOCK + 10), bytes(BLOCK) + b"different!"
        with ours.create("w.safetensors", len(first)) as slow:
            slow.write(0, memoryview(other))
            with theirs.create("w.safetensors", len(first)) as quick:
                quick.write(0, memoryview(first))
                quick.finish(hashlib.sha256(first).hexdigest())
            published(theirs.location, first)
            with pytest.raises(DigestMismatch, match="another process"):
                slow.finish(hashlib.sha256(other).hexdigest())
        ours.discard()
        assert theirs.location.get("w.safetensors") == first
        assert theirs.location.head(MANIFEST)
        assert leftovers(bucket_store) == ([], [])

    def test_what_one_published_the_other_takes(self, bucket_store, tmp_path):
        store = open_store()
        ours = store.writer(tmp_path / "save-x")
        content = bytes(BLOCK + 10)
        with ours.create("w.safetensors", len(content)) as slow:
            published(ours.location, content)
            ours.location.put("w.safetensors", content)
            ours.tidy()  # as the other does, which ends our upload too
            slow.write(0, memoryview(content))
            etag = ours.location.head("w.safetensors").etag
            slow.finish(hashlib.sha256(content).hexdigest())
        assert ours.location.head("w.safetensors").etag == etag

    def test_what_somebody_removed_is_told(self, bucket_store, tmp_path):
        ours = open_store().writer(tmp_path / "save-x")
        content = bytes(BLOCK + 10)
        with ours.create("w.safetensors", len(content)) as slow:
            slow.write(0, memoryview(content))
            ours.discard()
            with pytest.raises(OutputConflict, match=r"w\.safetensors was removed"):
                slow.write(0, memoryview(content))
            with pytest.raises(OutputConflict, match=r"w\.safetensors was removed"):
                slow.finish("0" * 64)


def published(place, content):
    """Make a place one that another process published."""
    file = File(path="w.safetensors", size=len(content), sha256=hashlib.sha256(content).hexdigest())
    document = Checkpoint(
        name="x",
        uri=place.uri,
        digest=content_digest((file,)),
        files=(file,),
        architecture="x",
        parameters=1,
        dtypes={"F32": 1},
        tensors_fingerprint="",
        tokenizer_fingerprint="",
        origin={},
    )
    place.put(MANIFEST, document.to_json())


@slow
@pytest.mark.parametrize("note", [b"", b"{", b"\xff", b'{"size": 1}', b"[]"])
def test_a_damaged_note_of_a_finished_file_is_not_believed(bucket_store, tmp_path, note):
    writer = open_store().writer(tmp_path / "save-x")
    writer.location.put("config.json", b"{}")
    writer.location.put(".draft/config.json.finished", note)
    assert writer.finished("config.json") is None
