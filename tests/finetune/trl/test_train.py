import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.errors import BadCheckpoint, OutputConflict, ProgramFailed
from components.finetune.data.encoding import IGNORED, Encoded
from components.finetune.data.summary import summarize
from components.finetune.recipe import Recipe, load_recipe
from components.finetune.tokenizer import load_tokenizer
from components.finetune.trl import trainer as sft
from components.finetune.trl.train import finetune
from tests.support.tinymodels import make_checkpoint, read_weights, stored_dtypes

ROOT = Path(__file__).parents[3]


def recipe(**changes: object) -> Recipe:
    short = {
        "max_steps": 24,
        "per_device_batch_size": 4,
        "learning_rate": 3e-3,
        "save_every_steps": 5,
        "lr_scheduler": "cosine",
        "warmup_ratio": 0.1,
    }
    return load_recipe("demo").model_copy(update=short | changes)


def write_dataset(path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where does word{number} live?"},
                {"role": "assistant", "content": f"The answer is word{number + 20}."},
            ]
        }
        for number in range(18)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    make_checkpoint(folder / "base", architecture="olmo2", shards=2)
    (folder / "base" / "README.md").write_text("about the base")
    write_dataset(folder / "data.jsonl")
    return folder


def train(place, output, **changes):
    reports = []
    finetune(
        base=changes.pop("base", place / "base"),
        output=output,
        recipe=recipe(**changes),
        dataset=str(place / "data.jsonl"),
        scratch=output.parent / "scratch",
        report=lambda step, figures: reports.append((step, figures)),
    )
    return reports


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    """A finished training: its result, what it reported, and the trainer that it used."""
    output = tmp_path_factory.mktemp("finished") / "out"
    used = []

    def make_trainer(*arguments):
        used.append(sft.make_trainer(*arguments))
        return used[-1]

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("components.finetune.trl.train.make_trainer", make_trainer)
        reports = train(place, output)
    (trainer,) = used
    return output, reports, trainer


@pytest.fixture(scope="module")
def finished(trained):
    return trained[:2]


class TestResult:
    def test_has_the_form_of_the_base(self, place, finished):
        base, output = place / "base", finished[0]
        assert stored_dtypes(output) == stored_dtypes(base)
        before, after = contents(base), contents(output)
        assert before.keys() - after.keys() == {"README.md"}
        assert after.keys() <= before.keys()
        assert all(after[name] == before[name] for name in after if not name.endswith(".safetensors"))
        old, new = read_weights(base), read_weights(output)
        assert {name: tensor.shape for name, tensor in old.items()} == {n: t.shape for n, t in new.items()}

    def test_every_tensor_moved_and_none_much(self, place, finished):
        old, new = read_weights(place / "base"), read_weights(finished[0])
        for name in old:
            assert 0 < np.abs(new[name] - old[name]).max() < 0.2, name

    def test_transformers_loads_it_whole(self, finished):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model, info = AutoModelForCausalLM.from_pretrained(finished[0], output_loading_info=True)
        assert not any(info.values())
        assert model.get_input_embeddings().num_embeddings == len(AutoTokenizer.from_pretrained(finished[0]))

    def test_scratch_is_left_empty(self, finished):
        assert list((finished[0].parent / "scratch").iterdir()) == []


def test_the_loss_falls_and_is_reported_on_the_way(finished):
    _, reports = finished
    assert [step for step, _ in reports] == list(range(1, 25))
    figures = [figures for _, figures in reports]
    assert figures[-1]["loss"] < 0.7 * figures[0]["loss"]
    assert max(figure["learning_rate"] for figure in figures) == pytest.approx(3e-3)
    assert figures[-1]["learning_rate"] < 1e-4
    assert all(figure["samples_per_second"] > 0 and figure["grad_norm"] > 0 for figure in figures)


def test_every_conversation_is_learned_and_of_each_only_the_answer(trained, place):
    _, _, trainer = trained
    examples = trainer.train_dataset
    assert len(examples) == summarize(str(place / "data.jsonl")).rows == 18
    assert sum(label != IGNORED for labels in examples["labels"] for label in labels) == 18 * 6
    assert trainer.state.global_step == 24


def test_the_last_loss_that_is_reported_is_the_trainers(trained):
    _, reports, trainer = trained
    losses = [logged["loss"] for logged in trainer.state.log_history if "loss" in logged]
    assert [figures["loss"] for _, figures in reports] == losses


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.finetune.trl import test_train
place, output = map(Path, sys.argv[1:])
def report(step, figures):
    if step == 12:
        half = next((output.parent / "scratch").glob("job-*")) / "checkpoint-11"
        half.mkdir(); (half / "model.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
test_train.finetune(base=place / "base", output=output, recipe=test_train.recipe(),
                    dataset=str(place / "data.jsonl"), scratch=output.parent / "scratch", report=report)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(place, finished, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(place), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (tmp_path / "out").exists()
    reports = train(place, tmp_path / "out")
    assert [step for step, _ in reports] == list(range(11, 25))
    assert contents(tmp_path / "out") == contents(finished[0])


def test_a_stopped_run_goes_on_only_with_the_same_job(place, finished, tmp_path):
    def interrupt(step, figures):
        if step == 7:
            raise KeyboardInterrupt

    arguments = {"base": place / "base", "output": tmp_path / "out", "scratch": tmp_path / "scratch"}
    with pytest.raises(KeyboardInterrupt):
        finetune(**arguments, recipe=recipe(), dataset=str(place / "data.jsonl"), report=interrupt)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.glob("scratch/job-*/checkpoint-*")] == ["checkpoint-5"]
    reports = train(place, tmp_path / "out", seed=7)
    assert [step for step, _ in reports] == list(range(1, 25))
    assert contents(tmp_path / "out") != contents(finished[0])


def test_a_run_killed_after_its_last_step_only_writes_the_result(place, finished, tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("components.finetune.trl.train.write_like_base", killed)
    with pytest.raises(KeyboardInterrupt):
        train(place, tmp_path / "out")
    monkeypatch.undo()
    assert train(place, tmp_path / "out") == []
    assert contents(tmp_path / "out") == contents(finished[0])


def test_a_loss_that_is_no_number(place, tmp_path):
    with pytest.raises(ProgramFailed, match=r"the loss became (nan|inf) by step \d+[\s\S]*lower the learning rate"):
        train(place, tmp_path / "out", learning_rate=1e30)
    assert not (tmp_path / "out").exists()


class TestBases:
    @pytest.mark.parametrize(
        ("architecture", "tie", "dtype"), [("llama", True, "float32"), ("llama", False, "bfloat16")]
    )
    def test_other_forms_are_kept(self, place, tmp_path, architecture, tie, dtype):
        base = make_checkpoint(tmp_path / "base", architecture=architecture, tie=tie, dtype=dtype)
        train(place, tmp_path / "out", base=base, max_steps=2, precision="float32")
        assert stored_dtypes(tmp_path / "out") == stored_dtypes(base)
        assert ("lm_head.weight" in stored_dtypes(base)) is not tie

    def test_embeddings_keep_rows_beyond_the_tokenizer(self, place, tmp_path):
        base = make_checkpoint(tmp_path / "base", rows=80)
        train(place, tmp_path / "out", base=base, max_steps=1)
        assert read_weights(tmp_path / "out")["model.embed_tokens.weight"].shape == (80, 32)

    def test_a_missing_tensor(self, place, tmp_path):
        base = make_checkpoint(tmp_path / "base")
        config = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": False}
        (base / "config.json").write_text(json.dumps(config))
        with pytest.raises(BadCheckpoint, match=re.escape("lm_head.weight")):
            train(place, tmp_path / "out", base=base)

    def test_no_tokenizer(self, place, tmp_path):
        base = make_checkpoint(tmp_path / "base")
        for path in base.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(BadCheckpoint, match="tokenizer"):
            train(place, tmp_path / "out", base=base)


def test_an_occupied_output_is_refused_at_once(place, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputConflict):
        train(place, tmp_path / "out")
    assert contents(tmp_path / "out") == {"notes.txt": b"mine"}


def test_more_gpus_do_not_make_the_batch_larger(place, tmp_path, monkeypatch, caplog):
    made = sft._arguments

    def on_four_gpus(*given):
        arguments = made(*given)
        arguments._n_gpu = 4
        return arguments

    monkeypatch.setattr(sft, "_arguments", on_four_gpus)
    examples = [Encoded(input_ids=[1, 2], labels=[1, 2])]
    model, tokenizer = sft.load_model(place / "base"), load_tokenizer(place / "base")
    trainer = sft.make_trainer(model, tokenizer, recipe(), examples, tmp_path, sft.ReportingCallback(lambda *_: None))
    assert trainer.args.train_batch_size == recipe().per_device_batch_size
    assert "one of the 4 GPUs" in caplog.text
