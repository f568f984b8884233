"""Open-Instruct itself, on CPU, by ZeRO-3: where RECYCLE_OPEN_INSTRUCT names a checkout with its environment."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.checkpoints.layout import INDEX, read_layout
from components.errors import ProgramFailed
from components.finetune.data.summary import summarize
from components.finetune.open_instruct import command as open_instruct
from components.finetune.open_instruct import train as open_instruct_train
from components.finetune.open_instruct.checkout import find_checkout
from components.finetune.open_instruct.memory import Hardware
from components.finetune.open_instruct.train import TrainingJob, finetune
from components.finetune.recipe import load_recipe
from components.sources.folder import FolderSource
from components.system.files import discard
from components.transfer.plan import plan_transfer
from components.transfer.scale import parse_scale
from tests.support.tinymodels import make_checkpoint, read_weights, stored_dtypes

ROOT = Path(__file__).parents[3]
NAMES = ("RECYCLE_OPEN_INSTRUCT", "RECYCLE_OPEN_INSTRUCT_PYTHON")
PLACES = {name: os.environ[name] for name in NAMES if name in os.environ}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("RECYCLE_OPEN_INSTRUCT" not in PLACES, reason="RECYCLE_OPEN_INSTRUCT names no checkout"),
]


@functools.cache
def checkout():
    with pytest.MonkeyPatch.context() as environment:
        for name, value in PLACES.items():
            environment.setenv(name, value)
        return find_checkout()


def make_work(folder: Path, *, processes: int = 2, **changes: object) -> TrainingJob:
    short = {"max_steps": 9, "save_every_steps": 3, "chat_template": "tulu", "add_bos": True}
    memory = 8 * 10**9
    return TrainingJob(
        base=folder / "base",
        base_digest="0" * 64,
        recipe=load_recipe("tiny-open-instruct").model_copy(update=short | changes),
        data=summarize(str(folder / "data.jsonl")),
        checkout=checkout(),
        hardware=Hardware(device="cpu", devices=processes, device_bytes=memory, host_bytes=memory),
    )


def train(work, folder, report=lambda step, figures: None):
    notes: dict[str, object] = {}
    finetune(work, output=folder / "out", scratch=folder / "scratch", report=report, note=notes.update)
    return notes


def make_olmo(base: Path, dtype: str = "bfloat16") -> None:
    """A tiny OLMo 2 whose tokenizer has no padding token, as OLMo 2's intermediate checkpoints are saved."""
    make_checkpoint(base, architecture="olmo2", shards=2, chat_template=None, dtype=dtype)
    settings = json.loads((base / "tokenizer_config.json").read_text()) | {"pad_token": "<|end|>"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("olmo place")
    make_olmo(folder / "base")
    conversation = "Where does word{} live?", "The answer is word{}."
    rows = [
        {
            "messages": [
                {"role": "user", "content": conversation[0].format(number)},
                {"role": "assistant", "content": conversation[1].format(number + 20)},
            ]
        }
        for number in range(18)
    ]
    rows.append({"messages": [{"role": "user", "content": "word1 " * 80}, rows[0]["messages"][1]]})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """An uninterrupted run, whose scratch is kept as a kill after its last step leaves it."""
    folder = tmp_path_factory.mktemp("finished")
    reports: list[tuple[int, dict[str, float]]] = []
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(
            open_instruct_train, "discard", lambda folder: folder.name.startswith("job-") or discard(folder)
        )
        notes = train(make_work(place), folder, lambda *report: reports.append(report))
    return folder, notes, reports


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestResult:
    def test_has_the_form_of_the_base(self, place, finished):
        base, output = place / "base", finished[0] / "out"
        assert stored_dtypes(output) == stored_dtypes(base)
        before, after = contents(base), contents(output)
        assert after.keys() - before.keys() == {"chat_template.jinja"}
        assert all(after[name] == before[name] for name in before if not name.endswith(".safetensors"))
        old, new = read_weights(base), read_weights(output)
        assert {name: tensor.shape for name, tensor in old.items()} == {
            name: tensor.shape for name, tensor in new.items()
        }
        assert all(abs(new[name] - old[name]).max() > 0 for name in old if "norm" not in name)

    def test_evaluation_writes_the_prompt_that_was_learned(self, finished):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(finished[0] / "out")
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Where?"}], tokenize=False, add_generation_prompt=True
        )
        assert text == "<|bos|><|user|>\nWhere?\n<|assistant|>\n"

    def test_transfer_takes_its_diff_vector(self, place, finished, tmp_path):
        target = make_checkpoint(tmp_path / "target", architecture="olmo2", seed=7)
        base, tuned, newer = (
            read_layout(FolderSource(path=path)) for path in (place / "base", finished[0] / "out", target)
        )
        plan_transfer(source_base=base, source_tuned=tuned, target_base=newer, scale=parse_scale("1"), dtype="auto")

    def test_what_was_learned_is_counted(self, finished):
        _, notes, _ = finished
        counts = {"rows": 19, "dropped": 1, "left out": 2, "batch": 4, "cut": 0}
        assert {key: notes[f"data {key}"] for key in counts} == counts
        assert notes["launch processes"] == 2
        assert notes["launch accumulation"] == 2

    def test_the_loss_falls_and_is_reported_on_the_way(self, finished):
        _, _, reports = finished
        assert [step for step, _ in reports] == list(range(1, 10))
        figures = [figures for _, figures in reports]
        assert figures[-1]["loss"] < figures[0]["loss"]
        # Reported after the scheduler's step: the first has it at its highest, the last at 0.
        assert 2.5e-3 < figures[0]["learning_rate"] <= 3e-3
        assert figures[-1]["learning_rate"] == 0
        assert all(figure["tokens_per_second"] > 0 for figure in figures)


def test_a_float32_base_is_trained_as_its_bfloat16_rounding(finished, place, tmp_path):
    make_olmo(tmp_path / "base", dtype="float32")
    shutil.copy(place / "data.jsonl", tmp_path)
    train(make_work(tmp_path), tmp_path)
    rounded, output = contents(finished[0] / "out"), contents(tmp_path / "out")
    assert {name for name in rounded if output[name] != rounded[name]} <= {INDEX}
    assert json.loads(output[INDEX]) == json.loads(rounded[INDEX])
    target = make_checkpoint(tmp_path / "target", architecture="olmo2", seed=7)
    base, tuned, newer = (
        read_layout(FolderSource(path=path)) for path in (tmp_path / "base", tmp_path / "out", target)
    )
    transfer = plan_transfer(
        source_base=base, source_tuned=tuned, target_base=newer, scale=parse_scale("1"), dtype="auto"
    )
    assert {tensor.dtype for shard in transfer.shards for tensor in shard.tensors} == {"BF16"}


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.finetune.open_instruct import test_really as tests
place, folder = map(Path, sys.argv[1:])
def report(step, figures):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
tests.train(tests.make_work(place), folder, report)
"""


def test_a_killed_run_leaves_nothing_running_and_goes_on_to_the_same_bytes(place, finished, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(place), str(tmp_path)],
        env={**os.environ, **PLACES, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (tmp_path / "out").exists()
    deadline = time.monotonic() + 20
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert workers(tmp_path) == {}
    reports = []
    train(make_work(place), tmp_path, lambda *report: reports.append(report))
    assert reports[0][0] == 4
    assert contents(tmp_path / "out") == contents(finished[0] / "out")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_run_killed_after_its_last_step_only_writes_the_result(place, finished, tmp_path):
    folder = finished[0]
    work = make_work(place)
    before = contents(folder / "out")
    (folder / "out").rename(tmp_path / "before")
    finish = sorted(path.name for path in (folder / "scratch").glob("job-*/output/step_*"))
    assert finish == ["step_9"]
    reports = []
    train(work, folder, lambda *report: reports.append(report))
    assert reports == []
    assert contents(folder / "out") == before


def test_a_loss_that_is_no_number(place, tmp_path):
    with pytest.raises(ProgramFailed, match=r"the loss became (nan|inf) by step \d+[\s\S]*lower the learning rate"):
        train(make_work(place, processes=1, learning_rate=1e30, warmup_ratio=0), tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_worker_that_is_killed(place, tmp_path):
    def kill_one(step, figures):
        if step == 2:
            os.kill(next(pid for pid, rank in workers(tmp_path).items() if rank == "1"), signal.SIGKILL)

    with pytest.raises(ProgramFailed, match=r"one of its processes was killed \(SIGKILL\)[\s\S]*goes on from its last"):
        train(make_work(place), tmp_path, kill_one)
    assert not (tmp_path / "out").exists()
    assert workers(tmp_path) == {}


def workers(folder):
    """Processes of Open-Instruct that work in `folder`, with their ranks."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "cwd").resolve().is_relative_to(folder.resolve())
            ours = str(open_instruct.PROGRAM).encode() in (process / "cmdline").read_bytes()
            variables = dict(
                part.split(b"=", 1) for part in (process / "environ").read_bytes().split(b"\0") if b"=" in part
            )
        except OSError:
            continue
        if inside and ours and b"RANK" in variables:
            found[int(process.name)] = variables[b"RANK"].decode()
    return found
