"""What a user gets for bad input: a clear error that names the value and the next action, and nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from tests.support.fakehub import FakeHub
from tests.support.tinymodels import WORDS, make_checkpoint, write_tokenizer, write_weights


@pytest.fixture
def world(tmp_path):
    for seed, name in enumerate(("base", "tuned", "target")):
        make_checkpoint(tmp_path / name, seed=seed, shards=2)
    return tmp_path


def recycle(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def refused(world, *told, command="transfer", base="base", tuned="tuned", target="target", code=1, more=()):
    """The transfer, or plan, is refused in words, with a next action, and leaves nothing."""
    before = sorted(path.name for path in world.iterdir())
    places = [
        world / name if isinstance(name, str) and (world / name).exists() else name for name in (base, tuned, target)
    ]
    output = () if command == "plan" else (world / "out",)
    result = recycle(command, *places, *output, *more)
    assert result.exit_code == code, result.output
    assert "What to do:" in result.output
    assert "Traceback" not in result.output
    for text in told:
        assert text in result.output
    assert sorted(path.name for path in world.iterdir()) == before


def test_a_sound_transfer_is_not_refused(world):
    assert recycle("plan", world / "base", world / "tuned", world / "target").exit_code == 0
    assert recycle("transfer", world / "base", world / "tuned", world / "target", world / "out").exit_code == 0
    assert recycle("verify", world / "out").exit_code == 0
    again = recycle("transfer", world / "base", world / "tuned", world / "target", world / "out", "--json")
    assert json.loads(again.output)["already_done"] is True


@pytest.mark.parametrize("command", ["transfer", "plan"])
@pytest.mark.parametrize("role", ["base", "tuned", "target"])
class TestOneBadCheckpoint:
    def test_a_folder_that_is_none(self, world, command, role):
        (world / "empty").mkdir()
        refused(world, str(world / "empty"), "config.json", command=command, **{role: "empty"})

    def test_a_name_that_leads_nowhere(self, world, command, role):
        refused(world, "./nothing/here", "neither a folder", command=command, **{role: "./nothing/here"})

    def test_pickles_only(self, world, command, role):
        for path in (world / role).glob("model*"):
            path.unlink()
        (world / role / "pytorch_model.bin").write_bytes(b"\x80\x04.")
        refused(world, "pytorch_model.bin", "pickles", command=command)

    def test_a_missing_shard(self, world, command, role):
        (world / role / "model-00002-of-00002.safetensors").unlink()
        refused(world, "model-00002-of-00002.safetensors", "missing", command=command)

    def test_a_truncated_shard(self, world, command, role):
        shard = world / role / "model-00001-of-00002.safetensors"
        shard.write_bytes(shard.read_bytes()[:-7])
        refused(world, shard.name, "cut short", command=command)

    @pytest.mark.parametrize(
        "path", ["../base/model.safetensors", "/etc/passwd", "a/../../x.safetensors", "%2e%2e/x", "a\0b"]
    )
    def test_an_index_that_names_files_outside(self, world, command, role, path):
        index = world / role / "model.safetensors.index.json"
        document = json.loads(index.read_text())
        document["weight_map"]["model.norm.weight"] = path
        index.write_text(json.dumps(document))
        refused(world, "not a plain relative path", command=command)

    def test_an_index_that_lies(self, world, command, role):
        index = world / role / "model.safetensors.index.json"
        document = json.loads(index.read_text())
        document["weight_map"]["model.norm.weight"] = "model-00001-of-00002.safetensors"
        index.write_text(json.dumps(document))
        refused(world, "model.norm.weight", "disagree", command=command)

    def test_a_config_that_is_not_json(self, world, command, role):
        (world / role / "config.json").write_text("{")
        refused(world, "config.json", "not JSON", command=command)

    def test_a_tokenizer_that_cannot_be_read(self, world, command, role):
        (world / role / "tokenizer.json").write_text('{"model": 3}')
        refused(world, "tokenizer.json", command=command)


class TestThreeThatDoNotFit:
    def test_architectures(self, world):
        shutil.rmtree(world / "target")
        make_checkpoint(world / "target", architecture="olmo2")
        refused(world, "LlamaForCausalLM", "Olmo2ForCausalLM")

    def test_shapes(self, world):
        shutil.rmtree(world / "target")
        make_checkpoint(world / "target", hidden=64)
        refused(world, "model.embed_tokens.weight: [70, 64] (target base), [70, 32]", "and 12 more")

    def test_tensor_names(self, world):
        shutil.rmtree(world / "tuned")
        make_checkpoint(world / "tuned", layers=3)
        refused(world, "model.layers.2.", "only in: source fine-tuned")

    def test_different_tokenizers_of_the_same_size(self, world):
        write_tokenizer(world / "target", vocab=[*reversed(WORDS)])
        refused(world, "ids stand for different tokens")

    def test_a_quantized_one(self, world):
        for path in (world / "target").glob("model*"):
            path.unlink()
        weights = {"model.layers.0.mlp.up_proj.qweight": np.zeros((4, 4), np.float32)}
        write_weights(world / "target", weights)
        refused(world, "quantized", "GPTQ")

    def test_a_source_that_is_the_target(self, world):
        refused(world, str(world / "base"), "source base", target="base")

    def test_a_fine_tune_that_is_the_target(self, world):
        refused(world, str(world / "tuned"), target="tuned")


@pytest.mark.parametrize("scale", ["abc", "nan", "inf", "", "1,5"])
@pytest.mark.parametrize("command", ["transfer", "plan"])
def test_a_scale_that_is_no_number(world, command, scale):
    refused(world, repr(scale), "finite number", command=command, code=2, more=("--scale", scale))


def test_a_dtype_that_is_none(world):
    refused(world, "'int4'", "bfloat16", code=2, more=("--dtype", "int4"))


class TestOutput:
    def test_other_content(self, world):
        (world / "out").mkdir()
        (world / "out" / "precious").write_text("mine")
        refused(world, str(world / "out"), "something else")
        assert (world / "out" / "precious").read_text() == "mine"

    def test_another_transfers_result(self, world):
        arguments = (world / "base", world / "tuned", world / "target", world / "out")
        assert recycle("transfer", *arguments).exit_code == 0
        refused(world, "something else", more=("--scale", "0.5"))

    def test_an_input(self, world):
        result = recycle("transfer", world / "base", world / "tuned", world / "target", world / "target")
        assert result.exit_code == 1
        assert "one of the inputs" in result.output

    def test_a_file(self, world):
        (world / "out").write_text("mine")
        refused(world, "something else")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_place_that_may_not_be_written(self, world):
        (world / "locked").mkdir(mode=0o500)
        result = recycle("transfer", world / "base", world / "tuned", world / "target", world / "locked" / "out")
        assert result.exit_code == 1
        assert "cannot be written" in result.output

    def test_a_full_disk(self, world):
        place = world / "small"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount a small file system")
        try:
            result = recycle("transfer", world / "base", world / "tuned", world / "target", place / "out")
            assert result.exit_code == 1
            assert "free" in result.output
            assert not (place / "out").exists()
        finally:
            subprocess.run(["umount", place], check=True)


class TestRun:
    def test_an_unknown_pipeline(self):
        result = recycle("run", "recycel")
        assert result.exit_code == 2
        assert "'recycel'" in result.output
        assert "finetune-and-recycle" in result.output

    def test_an_unknown_parameter(self):
        result = recycle("run", "recycle", "-p", "sorce_base=x")
        assert result.exit_code == 2
        assert "sorce_base=x" in result.output
        assert "source_base" in result.output

    def test_a_parameter_of_the_wrong_type(self):
        for assignment in ("gate_tolerance=much", "finetune_target=perhaps"):
            result = recycle("run", "finetune-and-recycle", "-p", assignment)
            assert result.exit_code == 2
            assert repr(assignment.partition("=")[2]) in result.output

    @pytest.mark.parametrize(
        ("pipeline", "assignment", "told"),
        [
            ("recycle", "suite=nosuch", ("'nosuch'", "demo")),
            ("finetune-and-recycle", "recipe=nosuch", ("'nosuch'", "demo")),
            ("recycle", "scale=abc", ("'abc'", "finite")),
            ("recycle", "dtype=int4", ("'int4'", "bfloat16")),
            ("recycle", "gate_tolerance=7", ("7", "share")),
            ("recycle", "model_name=a/b", ("'a/b'", "letters")),
            ("recycle", "model_name=-people", ("'-people'", "letters")),
            ("finetune-and-recycle", "dataset=/nope.jsonl", ("/nope.jsonl",)),
            ("finetune-and-recycle", "recipe=paper-math", ("RECYCLE_OPEN_INSTRUCT", "clone")),
            ("recycle", "suite=olmes-base", ("RECYCLE_OLMES", "set it")),
        ],
    )
    def test_a_value_that_cannot_be(self, pipeline, assignment, told, tmp_path):
        result = recycle("run", pipeline, "-p", assignment, "--json")
        assert result.exit_code == 2, result.output
        assert all(text in result.output for text in told)
        assert not (tmp_path / "home").exists()

    def test_what_the_first_step_refuses(self, world):
        given = ["-p", f"source_base={world / 'base'}", "-p", "target_base=./nothing"]
        result = recycle("run", "finetune-and-recycle", *given, "--json")
        assert result.exit_code == 1, result.output
        assert "step 'resolve' failed: './nothing' is neither" in result.output
        assert not list((world / "home" / "store").rglob("*.safetensors"))

    def test_mlflow_that_does_not_answer(self, world, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter22@127.0.0.1:9")
        result = recycle(
            "run",
            "recycle",
            *(
                f"-p{n}={world / f}"
                for n, f in (("source_base", "base"), ("source_tuned", "tuned"), ("target_base", "target"))
            ),
        )
        assert result.exit_code == 1
        assert "MLflow at http://user:***@127.0.0.1:9" in result.output
        assert "MLFLOW_TRACKING_URI" in result.output
        assert "hunter22" not in result.output


def test_ctrl_c_in_the_middle_of_a_transfer(tmp_path):
    for seed, name in enumerate(("base", "tuned", "target")):
        make_checkpoint(tmp_path / name, seed=seed, shards=8, hidden=512, layers=8)
    names = [str(tmp_path / name) for name in ("base", "tuned", "target", "out")]
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()", "transfer", *names]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*.partial/.*.finished")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Run the same command again" in output
    assert not (tmp_path / "out").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert recycle("verify", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["base", "out", "target", "tuned"]


def test_a_damaged_checkpoint_is_found_by_verify(world):
    assert recycle("transfer", world / "base", world / "tuned", world / "target", world / "out").exit_code == 0
    shard = world / "out" / "model-00001-of-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    result = recycle("verify", world / "out")
    assert result.exit_code == 1
    assert shard.name in result.output
    assert "sha256" in result.output


def test_the_hub_is_a_place_for_checkpoints_too(world, monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("org/target", world / "target", tag="v2")
        planned = recycle("plan", world / "base", world / "tuned", "org/target@v2", "--json")
        assert planned.exit_code == 0, planned.output
        assert json.loads(planned.output)["target base"].startswith("org/target@")
        assert recycle("transfer", world / "base", world / "tuned", "org/target@v2", world / "out").exit_code == 0
        missing = recycle("plan", world / "base", world / "tuned", "org/target@v3")
        assert missing.exit_code == 1
        assert "v3" in missing.output


def test_the_command_line_starts_in_under_a_second():
    best = min(_start() for _ in range(5))
    assert best < 1.0


def _start():
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "from pipelines.cli.main import main; main()", "--help"], capture_output=True, check=True
    )
    return time.monotonic() - started
