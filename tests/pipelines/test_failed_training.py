"""Trainings that fail in a whole run: told by step and reason, marked in MLflow, and nothing of them kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from mlflow import MlflowClient

from components.errors import ProgramFailed
from components.store.folder.store import FolderStore
from components.tracking.step_context import EVENT_MARK
from pipelines.local import run as local_run
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint
from tests.support.tinysuites import write_suite

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
NAMES = ("RECYCLE_OPEN_INSTRUCT", "RECYCLE_OPEN_INSTRUCT_PYTHON")
OPEN_INSTRUCT = {name: os.environ[name] for name in NAMES if name in os.environ}
"""Read before tests take such variables away."""
TRAINING = "fine-tune source base"
ENDLESS = 100_000

TRAINERS = [
    "trl",
    pytest.param(
        "open-instruct",
        marks=[
            pytest.mark.slow,
            pytest.mark.timeout(1200),
            pytest.mark.skipif("RECYCLE_OPEN_INSTRUCT" not in OPEN_INSTRUCT, reason="it names no checkout"),
        ],
    ),
]


def write_recipe(folder: Path, trainer: str, **changes: object) -> Path:
    turns = [{"role": "user", "content": "Where does word1 live ?"}, {"role": "assistant", "content": "word2."}]
    (folder / "data.jsonl").write_text(f"{json.dumps({'messages': turns})}\n" * 8)
    recipe = {
        "name": "doomed",
        "description": "Fails.",
        "trainer": trainer,
        "dataset": str(folder / "data.jsonl"),
        "lr_scheduler": "constant",
        "learning_rate": 1e-4,
        "max_sequence_length": 32,
        "max_steps": ENDLESS,
        "save_every_steps": ENDLESS,
    }
    if trainer == "trl":
        recipe["per_device_batch_size"] = 4
    else:
        recipe |= {"effective_batch_size": 4, "chat_template": "base", "add_bos": False}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | changes))
    return folder / "recipe.yaml"


class World:
    """Two releases, a suite, and a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        for seed, name in enumerate(("release-1", "release-2")):
            make_checkpoint(folder / name, seed=seed, architecture="olmo2")
        task = {"description": "Where words live"}
        self.suite = write_suite(
            folder / "suite", name="places", description="Two.", task=task, questions=2, tokens=8, batch_size=2
        )
        self.client = MlflowClient(f"sqlite:///{self.home}/mlflow.db")

    def start(self, recipe: Path) -> "subprocess.Popen[str]":
        parameters = {
            "source_base": self.folder / "release-1",
            "target_base": self.folder / "release-2",
            "recipe": recipe,
            "suite": self.suite,
            "model_name": "doomed",
        }
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
        return subprocess.Popen(
            [*COMMAND, "run", "finetune-and-recycle", *arguments],
            env=os.environ | OPEN_INSTRUCT | {"RECYCLE_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def runs(self, process):
        """The training's run in MLflow and the pipeline's, as far as there are any."""
        experiment = self.client.get_experiment_by_name("recycle").experiment_id
        of_the_process = f"tags.`recycle.run_id` LIKE '%-{process.pid}'"
        parents = self.client.search_runs([experiment], of_the_process)
        steps = [
            run
            for parent in parents
            for run in self.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
            if run.data.tags["recycle.step"] == TRAINING
        ]
        return [*steps, *parents]

    def check_that_nothing_came_of_it(self):
        assert self.client.search_registered_models() == []
        assert not (self.home / "store/results/fine-tune").exists()
        stored = checkpoints_in(FolderStore(root=self.home / "store"))
        assert stored, "a base was saved before"
        assert [checkpoint for checkpoint in stored if checkpoint.derivation] == []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def start(world):
    """Start a run by its recipe; it ends with the test at the latest."""
    started = []

    def start(recipe):
        started.append(world.start(recipe))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def descendants(process: int) -> list[int]:
    """Every process that it started, directly or not, the youngest last."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found = [process]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def wait_until_it_learns(world, process):
    """Until a loss has reached MLflow: the training is under way."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        # MLflow's file is there then: two processes that make it at once are in each other's way.
        started = any(TRAINING in log.read_text() for log in world.home.glob(f"runs/*-{process.pid}/log.txt"))
        if started and any("loss" in run.data.metrics for run in world.runs(process)):
            return
        time.sleep(0.2)
    process.kill()
    pytest.fail(process.communicate()[0])


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_loss_that_is_no_number_fails_the_run_and_nothing_is_kept(trainer, start, world, tmp_path):
    process = start(write_recipe(tmp_path, trainer, learning_rate=1e30, max_steps=50))
    said = process.communicate()[0]
    assert process.returncode == 1, said
    assert f"step '{TRAINING}' failed: the loss became nan by step" in said
    assert "lower the learning rate" in said
    assert "Traceback" not in said
    training, parent = world.runs(process)
    assert (training.info.status, parent.info.status) == ("FAILED", "FAILED")
    assert training.data.tags["failure"] == parent.data.tags["failure"]
    assert parent.data.tags["failure"].startswith(f"step '{TRAINING}' failed: the loss became nan by step")
    world.check_that_nothing_came_of_it()


def test_the_process_of_the_step_is_killed(start, world, tmp_path):
    process = start(write_recipe(tmp_path, "trl"))
    wait_until_it_learns(world, process)
    (step,) = (pid for pid in descendants(process.pid) if is_a_step(pid))
    os.kill(step, signal.SIGKILL)
    said = process.communicate()[0]
    assert process.returncode == 1, said
    assert f"step '{TRAINING}' was killed before it could say why" in said
    training, parent = world.runs(process)
    assert (training.info.status, parent.info.status) == ("KILLED", "KILLED")
    assert parent.data.tags["failure"].startswith(f"step '{TRAINING}' was killed")
    world.check_that_nothing_came_of_it()


def is_a_step(pid: int) -> bool:
    """Whether it is the Python that runs a step, and not the shell that KFP starts it from."""
    command = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
    return b"kfp.dsl.executor_main" in command


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif("RECYCLE_OPEN_INSTRUCT" not in OPEN_INSTRUCT, reason="it names no checkout")
def test_the_process_that_trains_is_killed_under_open_instruct(start, world, tmp_path):
    process = start(write_recipe(tmp_path, "open-instruct"))
    wait_until_it_learns(world, process)
    trains = [pid for pid in descendants(process.pid) if is_training(pid)]
    os.kill(trains[0], signal.SIGKILL)
    said = process.communicate()[0]
    assert process.returncode == 1, said
    assert f"step '{TRAINING}' failed: Open-Instruct failed: one of its processes was killed (SIGKILL)" in said
    training, parent = world.runs(process)
    assert (training.info.status, parent.info.status) == ("FAILED", "FAILED")
    assert "was killed (SIGKILL)" in parent.data.tags["failure"]
    assert not any(map(is_training, trains))
    world.check_that_nothing_came_of_it()


def is_training(pid: int) -> bool:
    """Whether it is one of Open-Instruct's own processes, each of which has a rank."""
    try:
        return b"\0RANK=" in (Path("/proc") / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def end_with(events, monkeypatch):
    """A run whose worker says so and ends with an error; what MLflow is told to close is returned with the error."""
    closed = []

    def run_program(command, *, on_line, **_):
        for step, event in events:
            on_line(EVENT_MARK + json.dumps({"step": step, "event": event, "outcome": {}, "problem": "p", "do": "d"}))
        raise ProgramFailed("the worker ended", hint="read on")

    monkeypatch.setattr(local_run, "run_program", run_program)
    monkeypatch.setattr(local_run, "load_pipeline", lambda name: Mock())
    monkeypatch.setattr(local_run, "close_run", lambda run_id, failure: closed.append(failure))
    with pytest.raises(ProgramFailed) as caught:
        local_run.run_pipeline("recycle", {}, lambda line: None)
    return closed, caught.value.problem


def test_a_step_that_was_killed_is_known_when_branches_beside_it_go_on(monkeypatch):
    events = [("transfer", "started"), ("evaluate", "started"), ("evaluate", "ended")]
    closed, problem = end_with(events, monkeypatch)
    assert closed == ["step 'transfer' was killed before it could say why, most likely because memory ran out"]
    assert problem == closed[0]


def test_of_a_step_that_failed_and_one_that_was_killed_each_is_told_its_own(monkeypatch):
    events = [("transfer", "started"), ("transfer", "failed"), ("evaluate", "started")]
    closed, problem = end_with(events, monkeypatch)
    assert problem == "step 'transfer' failed: p"
    assert closed == ["step 'evaluate' was killed before it could say why, most likely because memory ran out"]


def test_nothing_is_closed_where_every_step_said_how_it_ended(monkeypatch):
    closed, _ = end_with([("transfer", "started"), ("transfer", "failed")], monkeypatch)
    assert closed == []


def test_an_mlflow_that_is_gone_does_not_hide_why_a_run_ended(tmp_path, monkeypatch):
    def kill(command, *, on_line, **_):
        on_line(EVENT_MARK + json.dumps({"step": "transfer", "event": "started"}))
        raise ProgramFailed("the worker ended", hint="read on")

    monkeypatch.setattr(local_run, "run_program", kill)
    monkeypatch.setattr(local_run, "load_pipeline", lambda name: Mock())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/x.db")
    with pytest.raises(ProgramFailed, match="step 'transfer' was killed before it could say why"):
        local_run.run_pipeline("recycle", {}, lambda line: None)
