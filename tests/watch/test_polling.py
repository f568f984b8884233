"""One tick on real checkpoints: what is taken, what is refused and why, what is told once."""

import json
import shutil
from types import SimpleNamespace

import pytest

from components.errors import BadParameter, BadReference, ServiceUnavailable
from components.store.store import open_store
from components.transfer.scale import parse_scale
from components.watch import judge as judging
from components.watch import polling
from components.watch.find import check_watch
from components.watch.judge import Judgement, judge, open_subject
from components.watch.ledger import Ledger, ListedRelease, read_ledger, with_seen
from components.watch.ledger import taken as taken_by
from components.watch.locations import Location, open_location
from components.watch.page import markdown
from components.watch.polling import PipelineRun, RunOutcome, Watched, decide, poll
from tests.support.fakehub import server  # noqa: F401 - a fixture
from tests.support.releases_world import make_world, near
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name

HOUR = 3_600


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path / "world")


@pytest.fixture
def watch(world):
    """Does a tick at an hour, in a run of its own, and gives back what it found."""
    store, hours = open_store(), iter(range(10**6))
    subject = open_subject(
        source_base=str(world / "base"),
        source_tuned=str(world / "tuned"),
        scale=parse_scale("1"),
        dtype="auto",
        store=store,
    )

    def once(ended=lambda release: RunOutcome(), location=None, look=None, run=None):
        hour = next(hours)
        watched = Watched(
            key=subject.key,
            about={"what": "test"},
            location=location or open_location(str(world / "releases")),
            judge=look or (lambda reference: judge(reference, subject, store)),
            retry_after_s=12 * HOUR,
        )
        return poll(store, watched, PipelineRun(id=run or f"run {hour}", tracked=f"mlflow {hour}"), ended, hour * HOUR)

    return once


def names(found):
    return {event["release"].rsplit("/")[-1]: event["happened"] for event in found.events}


def taken(found):
    return found.ledger.releases[found.taken].name.rsplit("/")[-1] if found.taken else ""


def test_one_tick_takes_the_newest_and_the_next_ones_the_others(world, watch):
    for number in (1, 2, 3):
        near(world / "base", world / f"releases/r{number}", seed=10 + number)
    assert [taken(watch()) for _ in range(4)] == ["r3", "r2", "r1", ""]


def test_what_does_not_fit_is_noted_and_told_once_with_its_reason(world, watch):
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    make_checkpoint(world / "releases/stranger", seed=4, layers=1)
    shutil.copytree(world / "base", world / "releases/same")
    shutil.copytree(world / "tuned", world / "releases/tuned")
    near(world / "base", world / "releases/cut", seed=5)
    weights = world / "releases/cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    found = watch()
    assert not found.taken
    assert names(found) == {
        "wide": "incompatible",
        "stranger": "unlikely",
        "same": "incompatible",
        "tuned": "incompatible",
        "cut": "incompatible",
    }
    reasons = {event["release"].rsplit("/")[-1]: event["reason"] for event in found.events}
    assert "not of one family" in reasons["wide"]
    assert "unrelated" in reasons["stranger"]
    assert reasons["same"] == "it is the source base itself"
    assert reasons["tuned"] == "it is the fine-tuned model itself"
    assert "\n" not in "".join(reasons.values())
    assert watch().events == []


def test_nothing_is_read_of_what_did_not_change(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    watch()

    def look(reference):
        raise AssertionError("it was looked at again")

    assert not watch(look=look).taken


def test_one_that_was_broken_is_taken_once_it_is_repaired_under_its_name(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    weights = world / "releases/r1/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:50])
    assert names(watch()) == {"r1": "incompatible"}
    weights.write_bytes(whole)
    assert taken(watch()) == "r1"


def test_a_later_version_looks_again_at_what_an_earlier_one_refused(world, watch, monkeypatch):
    near(world / "base", world / "releases/r1", seed=10)
    refusal = Judgement(refused="incompatible", reason="an architecture from the future")
    assert names(watch(look=lambda reference: refusal)) == {"r1": "incompatible"}
    assert not watch().taken
    monkeypatch.setattr("components.watch.ledger.__version__", "99")
    again = watch(look=lambda reference: refusal)
    assert again.events == [], "the same reason is told once"
    assert not watch().taken
    monkeypatch.setattr("components.watch.ledger.__version__", "100")
    found = watch()
    assert taken(found) == "r1"
    assert not any(one.refused or one.reason for one in found.ledger.names.values())


def test_weights_that_are_no_numbers_are_refused_as_that(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    path = world / "releases/r1/model.safetensors"
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    path.write_bytes(raw[:begin] + b"\xff" * (len(raw) - begin))
    found = watch()
    assert names(found) == {"r1": "incompatible"}
    assert "none of the sampled weights is a finite number" in found.events[0]["reason"]


def test_the_same_content_under_a_second_name_or_with_another_readme_is_not_new(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    assert taken(watch()) == "r1"
    shutil.copytree(world / "releases/r1", world / "releases/r2")
    (world / "releases/r1/README.md").write_text("Now with a card.")
    found = watch()
    assert (found.taken, found.events) == ("", [])
    assert found.ledger.counts(found.names) == {"running": 2}


def test_other_weights_under_the_same_name_are_new(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    first = watch()
    shutil.rmtree(world / "releases/r1")
    near(world / "base", world / "releases/r1", seed=11)
    second = watch()
    assert taken(second) == "r1"
    assert second.taken != first.taken


def test_a_tick_that_is_started_again_goes_on_with_what_it_took(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    near(world / "base", world / "releases/r2", seed=11)
    first = watch(run="one run")
    again = watch(run="one run")
    assert again.taken == first.taken
    assert again.ledger.counts(again.names) == {"running": 1, "waiting": 1}


def test_an_attempt_that_mlflow_calls_over_is_told_once_and_made_again_when_its_time_has_come(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    watch()
    over = watch(ended=lambda release: RunOutcome(over="no memory left"))
    assert names(over) == {"r1": "failed"}
    assert over.events[0]["reason"] == "no memory left"
    quiet = [watch(ended=lambda release: RunOutcome(over="no memory left")) for _ in range(10)]
    assert [found.events for found in quiet] == [[]] * 10
    assert [taken(found) for found in quiet] == [""] * 10
    again = watch()
    assert taken(again) == "r1"
    assert again.ledger.releases[again.taken].attempt == 2


def test_an_attempt_that_nobody_hears_of_again_is_taken_for_broken_off(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    watch()
    silent = [watch() for _ in range(24)]
    assert [names(found) for found in silent] == [{}] * 11 + [{"r1": "failed"}] + [{}] * 12
    assert "not come to an end in time" in silent[11].events[0]["reason"]
    assert [taken(found) for found in silent] == [""] * 23 + ["r1"]


def test_an_attempt_whose_run_goes_on_is_given_a_week(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    watch()
    alive = [watch(ended=lambda release: RunOutcome(goes_on=True)) for _ in range(7 * 24)]
    assert [names(found) for found in alive] == [{}] * (7 * 24 - 1) + [{"r1": "failed"}]
    assert [found.taken for found in alive] == [""] * (7 * 24)


def test_what_cannot_be_looked_at_now_is_skipped_told_and_not_forgotten(world, watch):
    near(world / "base", world / "releases/gated", seed=10)
    near(world / "base", world / "releases/another", seed=11)

    def gated(reference):
        if "gated" in reference:
            raise BadReference("it is gated", hint="ask")
        return Judgement(content="a" * 64)

    found = watch(look=gated)
    assert taken(found) == "another"
    assert any("it is gated" in one for one in found.skipped)
    assert found.events == []
    assert taken(watch()) == "gated"


def test_one_that_cannot_be_read_does_not_keep_the_older_ones_waiting(world, watch):
    for number in range(1, 4):
        near(world / "base", world / f"releases/r{number}", seed=10 + number)

    def unreadable(reference):
        if "r1" not in reference:
            raise ServiceUnavailable("its weights time out", hint="wait")
        return Judgement(content="a" * 64)

    found = watch(look=unreadable)
    assert taken(found) == "r1"
    assert [one.rsplit("/")[-1] for one in found.skipped] == ["r3: its weights time out", "r2: its weights time out"]


def test_an_outage_is_no_verdict_and_ends_the_look(world, watch):
    for number in range(1, 6):
        near(world / "base", world / f"releases/r{number}", seed=10 + number)
    asked = []

    def down(reference):
        asked.append(reference)
        raise ServiceUnavailable("the hub is down", hint="wait")

    found = watch(look=down)
    assert (len(asked), found.taken, found.events) == (3, "", [])
    assert found.skipped[-1] == "2 more are looked at in the next tick"
    assert taken(watch()) == "r5"


def test_a_place_that_cannot_be_listed_fails_the_tick_and_changes_nothing(world, watch):
    def down():
        raise ServiceUnavailable("the hub is down", hint="wait")

    with pytest.raises(ServiceUnavailable):
        watch(location=Location(listed=down))
    assert not (open_store().root / "results/ledger").exists()


def test_a_look_that_takes_long_is_gone_on_with_in_the_next_tick(world, watch, monkeypatch):
    for number in range(3):
        make_checkpoint(world / f"releases/wide-{number}", seed=number, hidden=64)
    clock = iter(range(0, 10**6, 400))
    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    found = watch()
    assert set(names(found)) == {"wide-2"}
    assert found.skipped == ["2 more are looked at in the next tick"]
    assert set(names(watch())) == {"wide-1"}


def test_dates_that_cost_a_request_are_asked_for_once_and_for_a_few(world, watch):
    asked = []
    place = open_location(str(world / "releases"))
    for number in range(3):
        near(world / "base", world / f"releases/r{number}", seed=10 + number)

    def date_of(one):
        asked.append(one.name)
        return {"r0": 300, "r1": 200, "r2": 100}[one.name.rsplit("/")[-1]]

    undated = [ListedRelease(name=o.name, reference=o.reference, state=o.state) for o in place.listed()]
    dated = Location(listed=lambda: undated, date_of=date_of)
    assert [taken(watch(location=dated)) for _ in range(3)] == ["r0", "r1", "r2"]
    assert len(asked) == 3


def test_another_template_of_the_fine_tune_is_another_subject_and_another_readme_is_not(world):
    def key():
        return open_subject(
            source_base=str(world / "base"),
            source_tuned=str(world / "tuned"),
            scale=parse_scale("1"),
            dtype="auto",
            store=open_store(),
        ).key

    first = key()
    (world / "tuned/README.md").write_text("A card.")
    assert key() == first
    config = json.loads((world / "tuned/tokenizer_config.json").read_text())
    (world / "tuned/tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "{{ messages }}"}))
    assert key() != first


def test_weights_are_read_for_their_digest_once(world, monkeypatch):
    read = []
    real = judging.identify_content.__globals__["digest_of_file"]
    monkeypatch.setitem(
        judging.identify_content.__globals__,
        "digest_of_file",
        lambda source, path, *rest: read.append(path) or real(source, path, *rest),
    )
    for _ in range(2):
        open_subject(
            source_base=str(world / "base"),
            source_tuned=str(world / "tuned"),
            scale=parse_scale("1"),
            dtype="auto",
            store=open_store(),
        )
    assert read.count("model.safetensors") == 2


def test_the_table_shows_names_states_and_reasons(world, watch):
    near(world / "base", world / "releases/a|b", seed=10)
    near(world / "base", world / "releases/<b>[x](y)", seed=11)
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    found = watch()
    page = markdown(found.ledger, found.names, "here")
    assert "1 incompatible, 1 running, 1 waiting" in page
    assert "a\\|b | " in page
    assert "not of one family" in page
    assert "<b>" not in page
    assert "[x](y)" not in page


@pytest.mark.parametrize(
    "changes",
    [{"releases": ""}, {"source_tuned": ""}, {"releases": "/folder"}, {"source_base": "org/model"}, {"suite": "none"}],
)
def test_parameters_that_cannot_be_meant_so_are_refused(changes):
    given = {
        "releases": "demo:release-*",
        "source_base": "demo:release-1",
        "source_tuned": "demo:release-1-instruct",
        "suite": "demo",
    }
    check_watch(**given)
    with pytest.raises(BadParameter):
        check_watch(**given | changes)


def test_the_ledger_says_what_is_recycled(world, watch):
    near(world / "base", world / "releases/r1", seed=10)
    watch()
    (key,) = [path.name for path in (open_store().root / "results/ledger").iterdir()]
    assert read_ledger(open_store(), key).about == {"what": "test"}


class TestOnTheHub:
    @pytest.fixture
    def hub(self, server, monkeypatch):
        server.reset()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        return server

    def test_branches_are_taken_newest_first_each_pinned_to_its_commit(self, world, watch, hub):
        commits = {}
        for number, day in ((1, 1), (2, 3), (3, 2)):
            folder = near(world / "base", world / f"r{number}", seed=10 + number)
            date = f"2025-01-0{day}T00:00:00.000Z"
            commits[number] = hub.add("org/model", folder, branch=f"r{number}", date=date)
        place = open_location("hub:org/model@r*")
        found = [watch(location=place) for _ in range(4)]
        assert [taken(one) for one in found] == ["model@r2", "model@r3", "model@r1", ""]
        assert found[0].ledger.releases[found[0].taken].reference == f"org/model@{commits[2]}"

    def test_a_tick_with_nothing_new_asks_the_hub_once(self, world, watch, hub):
        hub.add("org/model", near(world / "base", world / "r1", seed=11))
        place = open_location("hub:org/*")
        watch(location=place)
        before = len(hub.seen)
        watch(location=place)
        assert len(hub.seen) == before + 1

    def test_weights_are_known_by_the_hubs_digest_and_are_the_same_release_in_a_folder(
        self, world, watch, hub, monkeypatch
    ):
        read = []
        scope = judging.identify_content.__globals__
        real = scope["digest_of_file"]
        monkeypatch.setitem(
            scope, "digest_of_file", lambda source, path, *rest: read.append(path) or real(source, path, *rest)
        )
        folder = near(world / "base", world / "r1", seed=11)
        hub.add("org/model", folder)
        first = watch(location=open_location("hub:org/model@main"))
        assert read
        assert "model.safetensors" not in read
        shutil.copytree(folder, world / "releases/r1")
        second = watch()
        assert second.taken == ""
        assert second.ledger.counts(second.names) == {"running": 1}
        assert set(second.ledger.releases) == {first.taken}


class TestDeciding:
    """What a tick notes, as a pure function of the ledger and what was heard."""

    NOW = 20 * HOUR

    def decided(self, outcomes, *, run="second", now=NOW):
        one = ListedRelease(name="r1", reference="r1", state="1")
        ledger, _ = taken_by(with_seen(Ledger(), [one], 0), one, "content", now=0, run="first", tracked="mlflow")
        return decide(ledger, [one], outcomes, now, run=PipelineRun(id=run, tracked=""), retry_after_s=12 * HOUR)

    def test_an_attempt_that_is_over_is_noted_with_its_reason(self):
        decision = self.decided({"first": RunOutcome(over="no memory left")})
        assert decision.events == ({"release": "r1", "happened": "failed", "reason": "no memory left"},)
        assert decision.ledger.releases["content"].status == "failed"

    def test_one_that_goes_on_and_one_that_began_meanwhile_are_left_alone(self):
        for outcomes in ({"first": RunOutcome(goes_on=True)}, {}):
            decision = self.decided(outcomes)
            assert (decision.events, decision.candidates, decision.taken) == ((), (), "")

    def test_one_of_this_run_is_gone_on_with(self):
        assert self.decided({"first": RunOutcome(over="killed")}, run="first").taken == "content"

    def test_one_that_nothing_is_known_of_is_broken_off_after_its_time(self):
        assert self.decided({"first": RunOutcome()}, now=11 * HOUR).events == ()
        assert "not come to an end in time" in self.decided({"first": RunOutcome()}).events[0]["reason"]
