"""One small document that several change at once: none overwrites what it has not seen."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from components.errors import BadParameter, OutputConflict
from components.s3 import client as s3_client
from components.s3.conditional import MARKER, _checked
from components.store.store import open_store
from tests.support.faulty_proxy import proxy, running_proxy  # noqa: F401 - fixtures
from tests.support.stores import store  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures are imported, and asked for by name

FORK = multiprocessing.get_context("fork")


def test_what_was_seen_is_replaced_and_nothing_else_is(store):
    assert store.compare_and_swap("ledger", "a", None, "one")
    assert not store.compare_and_swap("ledger", "a", None, "two")
    assert not store.compare_and_swap("ledger", "a", "zero", "two")
    assert store.get("ledger", "a") == "one"
    assert store.compare_and_swap("ledger", "a", "one", "two")
    assert store.get("ledger", "a") == "two"


def test_nothing_is_made_where_something_was_to_be_replaced(store):
    assert not store.compare_and_swap("ledger", "a", "one", "two")
    assert store.get("ledger", "a") is None


def test_keys_and_kinds_are_apart(store):
    assert store.compare_and_swap("ledger", "a", None, "one")
    assert store.compare_and_swap("ledger", "b", None, "other")
    assert store.compare_and_swap("log", "a", None, "third")
    assert [store.get(*place) for place in (("ledger", "a"), ("ledger", "b"), ("log", "a"))] == [
        "one",
        "other",
        "third",
    ]


def store_of_a_child():
    s3_client.connect.cache_clear()  # connections are the parent's
    return open_store()


def _count(times, barrier):
    store = store_of_a_child()
    barrier.wait()
    for _ in range(times):
        while True:
            old = store.get("ledger", "count")
            number, _, _ = (old or "0").partition(" ")
            if store.compare_and_swap("ledger", "count", old, f"{int(number) + 1} by {os.getpid()}"):
                break
    os._exit(0)


def test_of_processes_that_count_at_once_none_loses_a_count(store):
    barrier = FORK.Barrier(4)
    counting = [FORK.Process(target=_count, args=(8, barrier)) for _ in range(4)]
    for process in counting:
        process.start()
    for process in counting:
        process.join(120)
    assert [process.exitcode for process in counting] == [0] * 4
    assert store.get("ledger", "count").startswith("32 by ")


def _win(barrier, winners):
    store = store_of_a_child()
    barrier.wait()
    if store.compare_and_swap("ledger", "a", "old", f"by {os.getpid()}"):
        winners.put(os.getpid())


def test_of_two_that_exchange_the_same_one_wins(store):
    store.compare_and_swap("ledger", "a", None, "old")
    for _ in range(5):
        barrier, winners = FORK.Barrier(2), FORK.Queue()
        both = [FORK.Process(target=_win, args=(barrier, winners)) for _ in range(2)]
        for process in both:
            process.start()
        winner = winners.get(timeout=60)
        for process in both:
            process.join(60)
        assert winners.empty()
        assert store.get("ledger", "a") == f"by {winner}"
        store.compare_and_swap("ledger", "a", f"by {winner}", "old")


def _exchange_for_ever():
    store = store_of_a_child()
    number = 0
    while True:
        old = store.get("ledger", "a")
        number += 1
        store.compare_and_swap("ledger", "a", old, f"{number} " + "x" * 100_000)


def test_killed_at_any_moment_it_leaves_one_whole_document_and_no_claim(store):
    for _ in range(6):
        process = FORK.Process(target=_exchange_for_ever)
        process.start()
        process.join(0.15)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        there = store.get("ledger", "a")
        assert there is None or there.endswith("x" * 100_000)
        assert store.compare_and_swap("ledger", "a", there, "1 " + "x" * 100_000)


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "results").write_text("a file")
    monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    with pytest.raises(OutputConflict):
        open_store().compare_and_swap("ledger", "a", None, "one")


def test_bytes_that_are_no_text_are_not_taken_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    place = tmp_path / "store/results/ledger/a"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\xff")
    assert not open_store().compare_and_swap("ledger", "a", None, "one")
    assert place.read_bytes() == b"\xff"


class TestAgainstAServer:
    @pytest.fixture(autouse=True)
    def _another_process(self):
        _checked.cache_clear()

    @pytest.mark.parametrize("old", [None, "one"])
    def test_a_write_whose_answer_is_lost_is_known_for_ones_own(self, proxy, bucket_store, old):
        store = open_store()
        if old:
            store.compare_and_swap("ledger", "a", None, old)
        proxy.fail("lost", "PUT", "results/ledger/a")
        assert store.compare_and_swap("ledger", "a", old, "two")
        assert store.get("ledger", "a") == "two"

    def test_a_write_between_the_look_and_the_exchange_wins(self, proxy, bucket_store):
        store = open_store()
        store.compare_and_swap("ledger", "a", None, "one")
        other = lambda: bucket_store.put("results/ledger/a", b"other")  # noqa: E731
        proxy.fail("call", "PUT", "results/ledger/a", call=other)
        assert not store.compare_and_swap("ledger", "a", "one", "two")
        assert store.get("ledger", "a") == "other"

    def test_one_that_was_removed_meanwhile_is_not_made_again(self, proxy, bucket_store):
        store = open_store()
        store.compare_and_swap("ledger", "a", None, "one")
        proxy.fail("call", "PUT", "results/ledger/a", call=lambda: bucket_store.delete("results/ledger/a"))
        assert not store.compare_and_swap("ledger", "a", "one", "two")
        assert store.get("ledger", "a") is None

    def test_a_server_that_ignores_conditions_is_refused(self, proxy, bucket_store):
        proxy.fail("replace", "PUT", MARKER, times=1000, status=200, headers={"ETag": '"0123456789abcdef"'})
        with pytest.raises(BadParameter, match="ignores If-None-Match"):
            open_store().compare_and_swap("ledger", "a", None, "one")

    def test_an_outage_is_ridden_out(self, proxy, bucket_store):
        proxy.fail("status", "PUT", "results/ledger/a", times=2, status=503)
        assert open_store().compare_and_swap("ledger", "a", None, "one")


def test_no_claim_stays_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    open_store().compare_and_swap("ledger", "a", None, "one")
    assert [path.name for path in Path(tmp_path / "store/results/ledger").iterdir()] == ["a"]
