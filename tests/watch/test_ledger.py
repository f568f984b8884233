"""The ledger's arithmetic, and many who change one: ticks, kills, replaced files, in any order."""

import json
import multiprocessing
import time
from dataclasses import dataclass

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from components.errors import BadCheckpoint, OutputConflict
from components.s3 import client as s3_client
from components.store.store import open_store
from components.watch.ledger import (
    KIND,
    LONGEST_REASON,
    LONGEST_WAIT_S,
    Discovery,
    Ledger,
    ListedRelease,
    ReleaseRecord,
    change,
    due,
    natural,
    overdue,
    read_ledger,
    refused,
    superseded,
    taken,
    wait_s,
    with_done,
    with_failed,
    with_seen,
)
from tests.support.stores import store  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures are imported, and asked for by name

HOUR = 3_600
FORK = multiprocessing.get_context("fork")


def listed(name, state="1", appeared=None):
    return ListedRelease(name=name, reference=f"ref-{name}", state=state, appeared=appeared)


def take(ledger, one, digest, now=0, run="run"):
    return taken(ledger, one, digest, now=now, run=run, tracked=f"mlflow-{run}")


class TestWhatIsDue:
    def test_the_newest_comes_first_and_names_decide_where_dates_do_not(self):
        ones = [listed("step9"), listed("step10"), listed("old", appeared=5), listed("new", appeared=6)]
        ledger = with_seen(Ledger(), ones, 0)
        assert [one.name for one in due(ledger, ones, 0)] == ["new", "old", "step10", "step9"]

    def test_nothing_is_due_twice(self):
        one = listed("a")
        ledger, took = take(with_seen(Ledger(), [one], 0), one, "content")
        assert took
        assert due(ledger, [one], 10**12) == []
        assert take(ledger, one, "content", run="other") == (ledger, False)

    def test_a_run_that_finds_its_own_exchange_done_has_taken_the_release(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        assert take(ledger, one, "content", now=5) == (ledger, True)
        nameless, _ = take(with_seen(Ledger(), [one], 0), one, "content", run="")
        assert take(nameless, one, "content", run="") == (nameless, False)

    def test_another_state_of_a_name_is_due_and_an_old_one_is_not(self):
        ledger, _ = take(with_seen(Ledger(), [listed("a")], 0), listed("a"), "content")
        assert with_seen(ledger, [listed("a")], 5) is ledger
        again = with_seen(ledger, [listed("a", "2")], 5)
        assert [one.state for one in due(again, [listed("a", "2")], 5)] == ["2"]

    def test_one_that_was_refused_waits_for_another_state(self):
        ledger = refused(with_seen(Ledger(), [listed("a")], 0), listed("a"), "incompatible", "x" * 1000)
        assert due(ledger, [listed("a")], 10**12) == []
        assert len(ledger.names["a"].reason) == LONGEST_REASON
        assert refused(ledger, listed("a"), "incompatible", "again") is None
        assert refused(ledger, listed("a", "2"), "incompatible", "of other files") is None
        assert due(with_seen(ledger, [listed("a", "2")], 1), [listed("a", "2")], 1)

    def test_the_same_content_under_a_second_name_is_known(self):
        both = [listed("a"), listed("b")]
        ledger, _ = take(with_seen(Ledger(), both, 0), both[0], "content")
        ledger, took = take(ledger, both[1], "content", run="other")
        assert not took
        assert ledger.releases["content"].run == "run"
        assert due(ledger, both, 10**12) == []
        assert ledger.status_of("b") == "running"


class TestAttempts:
    def test_waits_are_doubled_up_to_a_week(self):
        waits = [wait_s(12 * HOUR, attempt) for attempt in range(1, 8)]
        assert waits[:4] == [12 * HOUR, 24 * HOUR, 48 * HOUR, 96 * HOUR]
        assert set(waits[4:]) == {LONGEST_WAIT_S}
        assert wait_s(1, 10**6) == LONGEST_WAIT_S

    def test_one_that_failed_is_taken_again_when_its_time_has_come(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        ledger = with_failed(ledger, {"content": ("run", "no memory")}, HOUR, 100)
        assert ledger.releases["content"].reason == "no memory"
        assert due(ledger, [one], HOUR - 1) == []
        assert not take(ledger, one, "content", now=HOUR - 1)[1]
        assert due(ledger, [one], HOUR) == [one]
        ledger, took = take(ledger, one, "content", now=HOUR, run="second")
        assert took
        assert (ledger.releases["content"].attempt, ledger.releases["content"].run) == (2, "second")
        assert not overdue(ledger.releases["content"], HOUR, 3 * HOUR - 1)
        assert overdue(ledger.releases["content"], HOUR, 3 * HOUR)

    def test_one_that_is_noted_late_is_due_after_its_wait_and_not_at_once(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        ledger = with_failed(ledger, {"content": ("run", "broken off")}, HOUR, HOUR)
        assert due(ledger, [one], 2 * HOUR - 1) == []
        assert due(ledger, [one], 2 * HOUR) == [one]

    def test_one_whose_run_goes_on_is_overdue_after_the_longest_wait(self):
        ledger, _ = take(with_seen(Ledger(), [listed("a")], 0), listed("a"), "content")
        assert not overdue(ledger.releases["content"], HOUR, LONGEST_WAIT_S - 1, goes_on=True)
        assert overdue(ledger.releases["content"], HOUR, LONGEST_WAIT_S, goes_on=True)

    def test_an_old_run_does_not_fail_for_a_new_one_or_for_one_that_is_done(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        assert with_failed(ledger, {"content": ("another", "why")}, HOUR, 1) is ledger
        done = ReleaseRecord(status="done", since=1, name="a", reference="ref-a", run="run")
        assert (
            with_failed(with_done(ledger, "content", "content", done), {"content": ("run", "why")}, HOUR, 1).releases[
                "content"
            ]
            == done
        )

    def test_one_that_was_given_up_and_ends_well_after_all_is_done(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        ledger = with_failed(ledger, {"content": ("run", "broken off")}, HOUR, 1)
        done = ReleaseRecord(status="done", since=2, name="a", reference="ref-a", run="run")
        ledger = with_done(ledger, "content", "content", done)
        assert due(ledger, [one], 10**12) == []

    @pytest.mark.parametrize(("passed", "date", "is_late"), [(True, 6, True), (True, 4, False), (False, 6, False)])
    def test_one_is_superseded_by_a_newer_one_that_is_done_and_passed(self, passed, date, is_late):
        other, one = listed("other", appeared=date), listed("one", appeared=5)
        ledger, _ = take(with_seen(Ledger(), [other, one], 0), other, "its content")
        done = ledger.releases["its content"].model_copy(update={"status": "done", "passed": passed})
        ledger, _ = take(with_done(ledger, "its content", "its content", done), one, "content", run="second")
        assert superseded(ledger, "content") is is_late

    def test_names_decide_which_is_newer_where_dates_do_not(self):
        ones = [listed("step9"), listed("step10")]
        ledger, _ = take(with_seen(Ledger(), ones, 0), ones[1], "ten")
        ledger, _ = take(ledger, ones[0], "nine", run="second")
        assert not superseded(ledger, "nine")
        done = ledger.releases["ten"].model_copy(update={"status": "done", "passed": True})
        assert superseded(with_done(ledger, "ten", "ten", done), "nine")

    def test_files_that_were_replaced_after_they_were_taken_are_what_is_done_and_the_others_are_due(self):
        one = listed("a")
        ledger, _ = take(with_seen(Ledger(), [one], 0), one, "content")
        ledger = with_done(
            ledger, "content", "other", ReleaseRecord(status="done", since=2, name="a", reference="ref-a")
        )
        assert set(ledger.releases) == {"other"}
        assert due(ledger, [one], 3) == [one]

    def test_a_run_that_was_killed_after_it_took_something_finds_it_again(self):
        ledger, _ = take(with_seen(Ledger(), [listed("a")], 0), listed("a"), "content")
        assert ledger.taken_by("run") == "content"
        assert ledger.taken_by("other") is None
        assert ledger.taken_by("") is None


@dataclass
class Attempt:
    run: str
    digest: str
    content: str
    alive: bool = True


class Ticks(RuleBasedStateMachine):
    """Names whose content changes, ticks that take one, runs that end well, badly, or without a word."""

    def __init__(self):
        super().__init__()
        self.ledger, self.now, self.runs = Ledger(), 0, 0
        self.contents: dict[str, tuple[str, int]] = {}
        self.attempts: list[Attempt] = []
        self.done: list[str] = []

    def listing(self):
        return [listed(name, state=f"{content}-{touched}") for name, (content, touched) in self.contents.items()]

    @rule(name=st.sampled_from("abcd"), content=st.sampled_from("1234"), touched=st.integers(0, 1))
    def appears(self, name, content, touched):
        self.contents[name] = (content, touched)

    @rule(name=st.sampled_from("abcd"))
    def goes_away(self, name):
        self.contents.pop(name, None)

    @rule(wait=st.integers(0, 4 * HOUR), is_killed=st.booleans())
    def tick(self, wait, is_killed):
        self.now += wait
        ones = self.listing()
        ledger = with_seen(self.ledger, ones, self.now)
        over = {digest: (one.run, "over") for digest, one in ledger.releases.items() if overdue(one, HOUR, self.now)}
        ledger = self.ledger = with_failed(ledger, over, HOUR, self.now)
        for one in due(ledger, ones, self.now):
            digest = self.contents[one.name][0]
            self.runs += 1
            after, took = take(ledger, one, digest, now=self.now, run=f"run {self.runs}")
            if is_killed:  # before the exchange
                return
            ledger = self.ledger = after
            if took:
                assert digest not in self.done, "the same work twice"
                self.attempts.append(Attempt(run=f"run {self.runs}", digest=digest, content=digest))
                return

    @rule(number=st.integers(0, 20))
    def ends_well(self, number):
        if self.attempts:
            attempt = self.attempts.pop(number % len(self.attempts))
            done = ReleaseRecord(status="done", since=self.now, name="x", reference="x", run=attempt.run)
            self.ledger = with_done(self.ledger, attempt.digest, attempt.content, done)
            self.done.append(attempt.content)

    @rule(number=st.integers(0, 20))
    def is_lost(self, number):
        if self.attempts:
            self.attempts.pop(number % len(self.attempts))

    @invariant()
    def what_is_done_stays_done(self):
        assert {digest for digest, one in self.ledger.releases.items() if one.status == "done"} == set(self.done)

    @invariant()
    def the_document_says_all(self):
        assert Ledger.model_validate_json(self.ledger.to_json()) == self.ledger

    def teardown(self):
        """Whatever happened: when ticks go on and nothing is lost any more, everything there is done."""
        self.attempts.clear()
        for _ in range(12):
            self.tick(wait=LONGEST_WAIT_S, is_killed=False)
            self.ends_well(0)
        assert {content for content, _ in self.contents.values()} <= set(self.done)


TestTicks = Ticks.TestCase
TestTicks.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestInTheStore:
    def test_what_did_not_change_is_not_written(self, store):
        change(store, "key", lambda ledger: with_seen(ledger, [listed("a")], 0))
        before = store.get(KIND, "key")
        assert change(store, "key", lambda ledger: with_seen(ledger, [listed("a")], 9)).names
        assert change(store, "key", lambda ledger: None) is None
        assert store.get(KIND, "key") == before
        assert json.loads(before)["schema_version"] == 1

    def test_of_ticks_that_overlap_one_takes_the_release(self, store):
        change(store, "key", lambda ledger: with_seen(ledger, [listed("a")], 0))
        barrier, winners = FORK.Barrier(4), FORK.Queue()
        ticks = [FORK.Process(target=_take_at_once, args=(str(n), barrier, winners)) for n in range(4)]
        for process in ticks:
            process.start()
        for process in ticks:
            process.join(120)
        assert [process.exitcode for process in ticks] == [0] * 4
        assert sorted(took for _, took in (winners.get(timeout=10) for _ in ticks)) == [False, False, False, True]
        assert read_ledger(store, "key").releases["content"].attempt == 1

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 2}', '{"schema_version":1,"more":1}'])
    def test_a_document_that_is_no_ledger_is_told_and_stays(self, store, text):
        store.put(KIND, "key", text)
        with pytest.raises(BadCheckpoint, match="is no ledger of this version"):
            change(store, "key", lambda ledger: with_seen(ledger, [listed("a")], 0))
        assert store.get(KIND, "key") == text

    def test_who_never_has_a_turn_is_told(self, store, monkeypatch):
        monkeypatch.setattr(type(store), "compare_and_swap", lambda *arguments: False)
        with pytest.raises(OutputConflict, match="changed by others"):
            change(store, "key", lambda ledger: with_seen(ledger, [listed("a")], 0))

    def test_ten_thousand_releases_are_one_small_document_and_quickly_read_and_changed(self, store):
        names = {f"allenai/OLMo-2-1124-7B@stage1-step{n}-tokens{n}B": n for n in range(10_000)}
        ledger = Ledger(
            names={
                name: Discovery(
                    state=f"{n:040x}", seen=10**9 + n, appeared=10**9 + n, release=f"{n % 100:064x}" * (n < 100)
                )
                for name, n in names.items()
            },
            releases={
                f"{n:064x}": ReleaseRecord(
                    status="done", since=10**9, name="n" * 40, reference="r" * 80, reason="w" * 200
                )
                for n in range(100)
            },
        )
        assert len(ledger.to_json()) < 2_000_000
        store.put(KIND, "key", ledger.to_json())
        ones = [listed(name, state=f"{n:040x}") for name, n in names.items()]
        started = time.process_time()
        after = change(store, "key", lambda known: with_seen(known, [*ones, listed("new")], 0))
        found = due(after, [*ones, listed("new")], 0)
        assert len(found) == 9_901
        assert time.process_time() - started < 5


def _take_at_once(run, barrier, winners):
    s3_client.connect.cache_clear()  # connections are the parent's
    took = False

    def step(ledger):
        nonlocal took
        after, took = take(ledger, listed("a"), "content", run=run)
        return after

    store = open_store()
    barrier.wait()
    change(store, "key", step)
    winners.put((run, took))


def test_numbers_in_names_are_numbers():
    assert sorted(["v10", "v9", "v9.1", "v", "9v"], key=natural) == ["v", "v9", "v9.1", "v10", "9v"]
