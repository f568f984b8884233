"""Killed at any request, ours or the server, or full: nothing incomplete is visible, and a rerun ends the same."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from components import copying, s3
from components.compatibility import ROLES
from components.errors import DigestMismatch, RecycleError, ServiceUnavailable, StorageFull
from components.identify import verify
from components.reference import local_copy
from components.s3 import Bucket
from components.s3_source import S3Source
from components.save_checkpoint.save import save_checkpoint
from components.shard_file import ShardFile
from components.store import open_store
from components.transfer.transfer import transfer_in_store
from faulty_proxy import XML, proxy, refusal, running_proxy  # noqa: F401 - fixtures
from minio_server import BUCKET, MinioServer, make_bucket, use_server
from tinymodels import make_checkpoint, read_weights, write_weights

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
    checkpoint, _ = transfer_in_store(saved, scale="1", dtype="auto", store=open_store())
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
    found = store.checkpoints()
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

    def run(self, work, at):
        """Number of requests; at number `at` the child dies, and every other time the server never sees that one."""
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
        self.proxy.wait()
        requests = len(self.proxy.seen)
        self.proxy.reset()
        return child.exitcode, requests


def _in_child(work):
    s3._connect.cache_clear()  # connections are the parent's
    work()


@pytest.fixture
def killer(proxy):
    return Killer(proxy)


def test_a_save_killed_at_any_request(killer, models, bucket_store, monkeypatch, tmp_path):
    def save():
        return save_checkpoint(str(models[0]), open_store())

    code, requests = killer.run(save, 0)
    assert code == 0
    (expected,) = visible()
    for point in range(1, requests + 1):
        place = Bucket(bucket_store.name, f"{bucket_store.prefix}-{point}")
        monkeypatch.setenv("RECYCLE_STORE", place.uri)
        code, _ = killer.run(save, point)
        assert code == -signal.SIGKILL or point > requests - 2, point
        assert visible() <= {expected}, point
        assert save().digest == expected, point
        assert visible() == {expected}, point
        assert leftovers(place) == ([], []), point


def test_a_transfer_killed_at_requests(killer, saved, bucket_store, monkeypatch):
    inputs = {checkpoint.digest for checkpoint in saved.values()}
    places = [clone(bucket_store, "whole")]
    monkeypatch.setenv("RECYCLE_STORE", places[0].uri)
    code, requests = killer.run(lambda: transfer(saved), 0)
    assert code == 0
    (expected,) = visible() - inputs
    for point in range(1, requests + 1, 7):
        place = clone(bucket_store, str(point))
        monkeypatch.setenv("RECYCLE_STORE", place.uri)
        code, _ = killer.run(lambda: transfer(saved), point)
        assert visible() <= inputs | {expected}, point
        assert transfer(saved).digest == expected, point
        assert visible() == inputs | {expected}, point
        assert leftovers(place) == ([], []), point
