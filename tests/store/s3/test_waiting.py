"""Waiting for servers: long enough for one that restarts, bounded, told, and over at once when the work is."""

import os
import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from components.errors import ServiceUnavailable, StorageFull
from components.references.save import save_checkpoint
from components.s3 import retries as s3_tries
from components.s3.retries import BadAnswer, tried
from components.store import copying
from components.store.store import open_store
from components.system import network, retries
from components.system.threads import Cancellation, interruptible_sleep, thread_pool
from tests.support.faulty_proxy import proxy, refusal, running_proxy  # noqa: F401 - fixtures
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(s3_tries, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(retries, "interruptible_sleep", clock.wait)
    monkeypatch.setattr(s3_tries, "_teller", s3_tries._Teller())
    return clock


def down(clock, until, took=0.0):
    """A request to a server that is away until a moment, and takes a while to fail."""

    def ask():
        clock.now += took
        if clock.now < until:
            raise OSError("Connection refused")
        return "answer"

    return ask


class TestPatience:
    @pytest.mark.parametrize("outage_s", [0.1, 10, 30, 55])
    def test_a_server_that_restarts_is_waited_for(self, clock, outage_s):
        assert tried("read x", "s3://b/p", down(clock, clock.now + outage_s)) == "answer"
        assert clock.now - 1000 < outage_s + s3_tries.LONGEST_WAIT_S

    def test_one_that_stays_away_is_given_up_after_a_minute(self, clock):
        with pytest.raises(
            ServiceUnavailable, match=r"does not read x in s3://b/p: Connection refused \(tried for 60 s\)"
        ):
            tried("read x", "s3://b/p", down(clock, 1e9))
        assert 60 <= clock.now - 1000 < 61

    def test_one_that_takes_long_to_fail_gets_some_tries(self, clock):
        with pytest.raises(ServiceUnavailable):
            tried("read x", "s3://b/p", down(clock, 1e9, took=60))
        assert len(clock.waits) == s3_tries.FEWEST_TRIES - 1
        assert clock.now - 1000 < 3 * 60 + 1

    def test_waits_get_longer_are_bounded_and_differ(self, clock):
        for _ in range(2):
            with pytest.raises(ServiceUnavailable):
                tried("read x", "s3://b/p", down(clock, 1e9))
        first = [wait_s / 0.25 for wait_s in clock.waits[:4]]
        assert [0.5 * 2**number <= wait_s <= 2**number for number, wait_s in enumerate(first)] == [True] * 4
        assert max(clock.waits) <= s3_tries.LONGEST_WAIT_S
        assert len(set(clock.waits)) == len(clock.waits) < 80

    def test_what_is_waited_for_is_told_now_and_then(self, clock, caplog):
        with pytest.raises(ServiceUnavailable):
            tried("read x", "s3://b/p", down(clock, 1e9))
        lines = [record.getMessage() for record in caplog.records]
        assert 8 <= len(lines) <= 60 / s3_tries.TELL_EVERY_S + 1
        assert all(line.startswith("waiting for the store, ") for line in lines)
        assert all(line.endswith("does not read x in s3://b/p: Connection refused") for line in lines)
        told = [int(line.split(", ")[1].split(" s")[0]) for line in lines]
        assert told == sorted(told)
        assert told[-1] <= 61

    def test_a_refusal_is_not_waited_for(self, clock):
        def refused():
            raise BadAnswer("x") if clock.waits else StorageFull("full", hint="make room")

        with pytest.raises(StorageFull):
            tried("write x", "s3://b/p", refused)
        assert clock.waits == []


class TestPace:
    @pytest.mark.parametrize(
        ("rate", "given_up"), [(1000, True), (15 << 10, True), (17 << 10, False), (1 << 30, False)]
    )
    def test_a_trickle_is_given_up_within_two_windows(self, monkeypatch, rate, given_up):
        clock = Clock()
        monkeypatch.setattr(network, "time", SimpleNamespace(monotonic=lambda: clock.now))
        watched, slow = network.MinimumThroughput(), False
        while not slow and clock.now < 1100:
            clock.now += 1
            slow = watched.is_too_slow(rate)
        assert slow is (rate < network.MIN_BYTES_PER_S)
        assert clock.now - 1000 <= 2 * network.WINDOW_S or not slow

    def test_one_that_began_well(self, monkeypatch):
        clock = Clock()
        monkeypatch.setattr(network, "time", SimpleNamespace(monotonic=lambda: clock.now))
        watched = network.MinimumThroughput()
        assert not watched.is_too_slow(1 << 30)
        clock.now += network.WINDOW_S
        assert not watched.is_too_slow(1)
        clock.now += network.WINDOW_S
        assert watched.is_too_slow(1)


class TestTheEnd:
    """Nobody waits on for work that is given up."""

    def test_an_error_ends_the_waiting_of_the_others(self):
        waiting = threading.Event()

        def wait_long():
            waiting.set()
            interruptible_sleep(60)

        def fail():
            waiting.wait()
            raise ZeroDivisionError

        started = time.monotonic()
        with suppress(ZeroDivisionError), thread_pool(2, "test") as pool:
            waited = pool.submit(wait_long)
            pool.submit(fail).result()
        assert isinstance(waited.exception(), ZeroDivisionError)
        assert time.monotonic() - started < 5

    def test_of_a_line_that_is_not_stopped(self):
        line = Cancellation()
        with thread_pool(1, "test", line) as pool:
            pool.submit(interruptible_sleep, 0.01).result()

    @pytest.mark.parametrize("what", ["partNumber", "config", "checkpoint.json"], ids=["blocks", "files", "here"])
    def test_ctrl_c_while_the_store_is_away(self, proxy, bucket_store, tmp_path, monkeypatch, what):
        """In threads that copy blocks, in those that copy files, and in the main thread."""
        model = make_checkpoint(tmp_path / "model", hidden=512, layers=1, rows=700)
        monkeypatch.setattr(copying, "BLOCK", 5 << 20)
        monkeypatch.setattr(s3_tries, "PATIENCE_S", 60.0)
        monkeypatch.setattr(s3_tries, "FIRST_WAIT_S", 30.0)
        monkeypatch.setattr(s3_tries, "LONGEST_WAIT_S", 30.0)
        fault = proxy.fail("status", "PUT", what, times=1000, body=refusal("SlowDown"))
        interrupted = []

        def interrupt():
            while not fault.hits:
                time.sleep(0.01)
            time.sleep(0.2)
            interrupted.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(str(model), open_store())
        assert time.monotonic() - interrupted[0] < 3
        proxy.reset()
        monkeypatch.setattr(s3_tries, "FIRST_WAIT_S", 0.01)
        saved = save_checkpoint(str(model), open_store())
        assert open_store().source(saved).read("model.safetensors") == (model / "model.safetensors").read_bytes()


def test_a_full_store_is_told_while_others_wait_for_it(proxy, bucket_store, tmp_path, monkeypatch):
    model = make_checkpoint(tmp_path / "model", hidden=512, layers=2, rows=700)
    monkeypatch.setattr(copying, "BLOCK", 5 << 20)
    monkeypatch.setattr(s3_tries, "FIRST_WAIT_S", 30.0)
    monkeypatch.setattr(s3_tries, "LONGEST_WAIT_S", 30.0)
    monkeypatch.setattr(s3_tries, "PATIENCE_S", 60.0)
    proxy.fail("status", "PUT", "partNumber=2", times=1000, body=refusal("SlowDown"))
    full = refusal("XMinioStorageFull", "full")
    proxy.fail("status", "PUT", "partNumber=1", times=1000, status=507, body=full)
    started = time.monotonic()
    with pytest.raises(StorageFull):
        save_checkpoint(str(model), open_store())
    assert time.monotonic() - started < 10
