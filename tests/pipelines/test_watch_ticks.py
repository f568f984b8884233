"""Fifty ticks of `watch` over releases that come, change and break, ticks that overlap and ticks that are killed.

Each tick is a process of its own that runs the steps' own functions in a store in a folder and MLflow in a file: watch,
resolve, save, transfer, record. Evaluation and registration, which take long and are the flagship's, are left out. An
hour passes from tick to tick; `python -m pytest -m slow -s` shows the table.
"""

import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.planning import TransferRequest, resolve_transfer
from components.references.save import save_checkpoint
from components.store.store import open_store
from components.tracking.runs import close_run
from components.tracking.step_context import step
from components.transfer.scale import parse_scale
from components.transfer.transfer import transfer_in_store
from components.watch import attempts, find, record
from components.watch.find import WatchRequest, find_new_release
from components.watch.identity import content_of
from components.watch.ledger import KIND, LONGEST_WAIT_S, Ledger, read_ledger
from components.watch.record import Recycled, record_recycled
from tests.support.releases_world import make_world, near
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TICKS, KILLS, HOUR = 50, range(4, 35), 3_600
"""The ticks, those of them that may be killed, and the seconds between two."""
WEEK_PASSES = 36
"""The tick before which a week passes: a run that was killed and could not say so goes on, as far as MLflow knows."""
CHILD = multiprocessing.get_context("fork")


@dataclass
class Row:
    tick: int
    appeared: str
    seconds: float
    cpu_s: float
    was_killed: bool
    found: list[dict] = field(default_factory=list)
    """What the processes of this tick said."""


def run_steps(world: Path, said: Path, run: str, now: int) -> None:
    """One tick, in a process of its own."""
    os.environ.update(RECYCLE_RUN_ID=run)
    output = os.open(said.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for module in (find, attempts, record):
        module.time = SimpleNamespace(time=lambda: now)
    table = said.with_suffix(".md")
    with step("watch") as running:
        request = WatchRequest(
            releases=str(world / "releases"),
            suite="demo",
            model_name="recycled",
            retry_after="1h",
            source_base=str(world / "base"),
            source_tuned=str(world / "tuned"),
            scale="1",
            dtype="auto",
        )
        found = find_new_release(request, running, str(table))
        outcome = running.outcome["watch"]
    said.write_text(json.dumps(outcome))
    if found.is_there:
        recycle(table, found, outcome)
    said.write_text(json.dumps(outcome | {"recorded": found.is_there}))
    os._exit(0)


def recycle(table, found, outcome):
    roles = ("source base", "source fine-tuned", "target base")
    with step("resolve") as running:
        request = TransferRequest(
            source_base=found.source_base,
            source_tuned=found.source_tuned,
            target_base=found.target_base,
            scale=parse_scale("1"),
            suite="demo",
            gate_tolerance=0.02,
            model_name="recycled",
        )
        resolve_transfer(request, running, table.with_suffix(".plan"))
    saved = {}
    references = (found.source_base, found.source_tuned, found.target_base)
    for role, reference in zip(roles, references, strict=True):
        with step(f"save {role}"):
            saved[role] = save_checkpoint(reference, open_store())
    with step("transfer") as running:
        made, _ = transfer_in_store(saved, scale=parse_scale("1"), dtype="auto", store=open_store())
        running.tracker.end_pipeline()
    with step("record release") as running:
        recycled = Recycled(
            target_base=saved["target base"],
            passed=True,
            reason="not measured here",
            model_name="recycled",
            version=made.digest[:6],
            aliases="candidate",
        )
        record_recycled(running, recycled, releases=outcome["releases"], ledger=found.ledger, release=found.release)


def events(world):
    """What appears or changes, by tick; every function is called once, before that tick."""
    releases, base = world / "releases", world / "base"

    def broken():
        near(base, releases / "r3", seed=13)
        path = releases / "r3/model.safetensors"
        (world / "r3-whole").write_bytes(path.read_bytes())
        path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])

    def replaced():
        shutil.rmtree(releases / "r1")
        near(base, releases / "r1", seed=21)

    return {
        3: ("r1 appears", lambda: near(base, releases / "r1", seed=11)),
        7: ("r2 appears", lambda: near(base, releases / "r2", seed=12)),
        11: ("wide appears, of another shape", lambda: make_checkpoint(releases / "wide", seed=5, hidden=64)),
        14: ("r3 appears, broken", broken),
        18: (
            "r3 is repaired",
            lambda: (releases / "r3/model.safetensors").write_bytes((world / "r3-whole").read_bytes()),
        ),
        21: ("r2 again as r2-final", lambda: shutil.copytree(releases / "r2", releases / "r2-final")),
        24: ("r4 and r5 appear", lambda: [near(base, releases / f"r{n}", seed=10 + n) for n in (4, 5)]),
        28: ("r1 is uploaded anew", replaced),
        40: ("r5 gets a README", lambda: (releases / "r5/README.md").write_text("A card.")),
    }


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    import mlflow  # noqa: F401 - once, before processes are forked

    return make_world(tmp_path / "world")


def expected(world):
    """Digest of every content that must be recycled onto, once each."""
    folder, found = world / "expected", set()
    for seed in (11, 12, 13, 14, 15, 21):
        manifest = _saved_elsewhere(near(world / "base", folder / str(seed), seed=seed))
        found.add(content_of(manifest.files))
    return found


def _saved_elsewhere(folder):
    from components.checkpoints.description import verify
    from components.references.open import open_source

    return verify(open_source(str(folder)))


def one_tick(world, number, chance, longest_s, kills):
    """Run one process, or two at once, and kill what is to be killed."""
    now = int(time.time()) + number * HOUR + (LONGEST_WAIT_S if number >= WEEK_PASSES else 0)
    processes, outputs = [], []
    for copy in range(2 if chance.random() < 0.15 else 1):
        run = f"tick-{number}-{copy}"
        outputs.append(world.parent / f"{run}.said")
        processes.append((run, CHILD.Process(target=run_steps, args=(world, outputs[-1], run, now))))
    started, spent = time.monotonic(), os.times()
    for _, process in processes:
        process.start()
    deadline = chance.uniform(0, longest_s) if kills else 600
    for run, process in processes:
        process.join(max(0.0, deadline - (time.monotonic() - started)))
        if process.is_alive():
            process.kill()
            process.join()
            if chance.random() < 0.5:  # `recycle run` says so in MLflow, unless it was killed too
                telling = CHILD.Process(target=close_run, args=(run, "it was killed"))
                telling.start()
                telling.join()
    seconds, after = time.monotonic() - started, os.times()
    cpu_s = after.children_user + after.children_system - spent.children_user - spent.children_system
    found = [json.loads(path.read_text()) for path in outputs if path.exists() and path.read_text()]
    return seconds, cpu_s, any(process.exitcode for _, process in processes), found


def say(line):
    sys.stdout.write(f"{line}\n")


def show(rows, ledger: Ledger):
    say("\n\n| tick | appeared | took | recorded | told | state of all names | s | CPU s |")
    say("| ---: | --- | --- | --- | --- | --- | ---: | ---: |")
    for row in rows:
        took = ", ".join(f"{Path(f['taken']).name} (attempt {f['attempt']})" for f in row.found if f["taken"])
        told = ", ".join(f"{Path(e['release']).name} {e['happened']}" for f in row.found for e in f["events"])
        recorded = "yes" if any(f.get("recorded") for f in row.found) else ""
        state = ", ".join(f"{n} {s}" for s, n in row.found[-1]["counts"].items()) if row.found else ""
        end = "KILLED" if row.was_killed else recorded
        say(
            f"| {row.tick} | {row.appeared} | {took} | {end} | {told} | {state} | {row.seconds:.1f} | {row.cpu_s:.1f} |"
        )
    say("\n| release | state | attempts | as |\n| --- | --- | ---: | --- |")
    for name in sorted(ledger.names):
        release = ledger.releases.get(ledger.names[name].release)
        say(
            f"| {Path(name).name} | {ledger.status_of(name)} | {release.attempt if release else ''} | "
            f"{Path(release.name).name if release else ledger.names[name].reason} |"
        )


@pytest.mark.parametrize("seed", [0, 1])
def test_every_release_is_recycled_onto_once_whatever_happens_to_the_ticks(world, seed, tmp_path):
    chance, longest_s, killed_in_a_row, rows = random.Random(seed), 0.0, 0, []
    happens = events(world)
    for number in range(1, TICKS + 1):
        appeared, make = happens.get(number, ("", lambda: None))
        make()
        kills = number in KILLS and killed_in_a_row < 3 and chance.random() < 0.8
        seconds, cpu_s, was_killed, found = one_tick(world, number, chance, longest_s, kills)
        rows.append(
            Row(tick=number, appeared=appeared, seconds=seconds, cpu_s=cpu_s, was_killed=was_killed, found=found)
        )
        killed_in_a_row += was_killed
        if any(one.get("recorded") for one in found) and not was_killed:
            longest_s, killed_in_a_row = seconds, 0
    (key,) = [path.name for path in (tmp_path / "store/results" / KIND).iterdir() if not path.name.startswith(".")]
    store = open_store()
    ledger = read_ledger(store, key)
    show(rows, ledger)
    wanted = expected(world)
    assert set(ledger.releases) == wanted, "exactly the right releases were taken"
    assert {release.status for release in ledger.releases.values()} == {"done"}, "nothing was skipped"
    made = [one for one in checkpoints_in(store) if one.derivation and one.derivation.method == "fine-tuning transfer"]
    targets = [content_of(store.find(one.derivation.parents["target base"]).files) for one in made]
    assert sorted(targets) == sorted(wanted), "each was transferred once"
    recorded = [Path(one["taken"]).name for row in rows for one in row.found if one.get("recorded")]
    assert len(recorded) <= len(wanted), "no run did what another had done"
    assert {Path(name).name: ledger.status_of(name) for name in ledger.names} == {
        **dict.fromkeys(("r1", "r2", "r2-final", "r3", "r4", "r5"), "done"),
        "wide": "incompatible",
    }
    told = [(Path(e["release"]).name, e["happened"]) for row in rows for f in row.found for e in f["events"]]
    assert told.count(("wide", "incompatible")) <= 1
    assert told.count(("r3", "incompatible")) <= 1
    idle = [row for row in rows if row.found and not row.was_killed and not any(f["taken"] for f in row.found)]
    longest, most = max(row.seconds for row in idle), max(row.cpu_s for row in idle)
    say(f"\n{len(idle)} ticks found nothing to do: at most {longest:.1f} s, {most:.1f} s of a core")
    assert most < 10
    assert any(row.was_killed for row in rows)
    assert not list((tmp_path / "store/staging").glob("*")), "no work lies about"
