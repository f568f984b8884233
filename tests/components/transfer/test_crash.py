"""Killed around every file operation, a transfer leaves nothing incomplete to see and a rerun ends the same."""

import errno
import json
import multiprocessing
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from components.checkpoint import MANIFEST
from components.errors import BadCheckpoint, OutputConflict, StorageFull
from components.identify import verify
from components.transfer import stream
from components.transfer.shard_file import ShardFile
from components.work import claimed
from pipelines.transfer_command import transfer_references
from tinymodels import WORDS, make_checkpoint

MEMORY = 16 << 20
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


@pytest.fixture
def folders(tmp_path):
    return [
        make_checkpoint(tmp_path / name, seed=seed, shards=3) for seed, name in enumerate(("base", "tuned", "target"))
    ]


def transfer(folders, output):
    base, tuned, target = map(str, folders)
    return transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=output,
        scale="1",
        dtype="auto",
        memory=MEMORY,
        verified=False,
    )


def _run(folders, output, kill_at, counted):
    """In a child: count the file operations in the output's folder, and die before number `kill_at`."""

    def hook(event, arguments):
        if event in FILE_EVENTS and any(str(output.parent) in str(argument) for argument in arguments[:2]):
            counted.value += 1
            if counted.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    transfer(folders, output)


def run_in_child(folders, output, kill_at):
    context = multiprocessing.get_context("fork")
    counted = context.Value("i", 0)
    child = context.Process(target=_run, args=(folders, output, kill_at, counted))
    child.start()
    child.join()
    return child.exitcode, counted.value


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def test_killed_before_any_file_operation(folders, tmp_path):
    code, operations = run_in_child(folders, tmp_path / "whole" / "out", 0)
    assert code == 0
    assert operations >= 24
    expected = content(tmp_path / "whole" / "out")
    for point in range(1, operations + 1):
        output = tmp_path / f"killed-{point}" / "out"
        code, _ = run_in_child(folders, output, point)
        assert code == -signal.SIGKILL, point
        if output.exists():
            assert content(output) == expected, point
            verify(output)
        transfer(folders, output)
        assert content(output) == expected, point
        assert [path.name for path in output.parent.iterdir() if path.is_dir()] == ["out"], point


def test_a_finished_shard_is_not_made_again(folders, tmp_path, monkeypatch):
    made = []
    real = stream.Stream._write

    def failing(self, shard, path):
        made.append(shard.file)
        if len(made) == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, shard, path)

    monkeypatch.setattr(stream.Stream, "_write", failing)
    with pytest.raises(OSError, match="Input/output"):
        transfer(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    transfer(folders, tmp_path / "out")
    assert len(made) == 4
    assert made[2] == made[3]


def test_a_full_disk_is_told_and_gone_on_from(folders, tmp_path, monkeypatch):
    real = ShardFile.write
    writes = []

    def full(self, offset, data):
        writes.append(1)
        if len(writes) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, offset, data)

    monkeypatch.setattr(ShardFile, "write", full)
    with pytest.raises(StorageFull, match="full"):
        transfer(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    transfer(folders, tmp_path / "out")
    verify(tmp_path / "out")


def test_no_room_is_told_before_anything_is_written(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(StorageFull, match="free"):
        transfer(folders, tmp_path / "out")


def test_a_second_process_is_told(folders, tmp_path):
    with claimed(tmp_path / "out", wait=False), pytest.raises(OutputConflict, match="another process"):
        transfer(folders, tmp_path / "out")


def test_a_damaged_finished_shard_is_made_again(folders, tmp_path):
    run_in_child(folders, tmp_path / "o" / "out", 0)
    expected = content(tmp_path / "o" / "out")
    for point in range(12, 40):
        output = tmp_path / f"damaged-{point}" / "out"
        run_in_child(folders, output, point)
        partial = next(output.parent.glob(".out.*.partial"), None)
        shards = sorted(partial.glob("model-*.safetensors")) if partial else []
        if shards and list(partial.glob(".*.record")):
            damaged = bytearray(shards[0].read_bytes())
            damaged[-1] ^= 1
            shards[0].write_bytes(damaged)
            break
    else:
        pytest.fail("no kill left a finished shard")
    transfer(folders, output)
    assert content(output) == expected


def test_what_someone_puts_into_the_output_meanwhile_stays(folders, tmp_path, monkeypatch):
    real = stream.Stream.write_shard

    def write(self, shard, folder):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "precious").write_text("mine")
        return real(self, shard, folder)

    monkeypatch.setattr(stream.Stream, "write_shard", write)
    with pytest.raises(OutputConflict, match="someone else"):
        transfer(folders, tmp_path / "out")
    assert (tmp_path / "out" / "precious").read_text() == "mine"


def test_a_result_that_lost_a_file_is_not_taken_for_done(folders, tmp_path):
    transfer(folders, tmp_path / "out")
    (tmp_path / "out" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match="model-00002-of-00003"):
        transfer(folders, tmp_path / "out")


def test_a_link_to_an_empty_folder_is_followed(folders, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    transfer(folders, tmp_path / "link")
    verify(tmp_path / "real")


@pytest.mark.parametrize("name", ["file/out", "x" * 300])
def test_a_place_that_cannot_be(folders, tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputConflict, match="cannot be written"):
        transfer(folders, tmp_path / name)


def test_overflow_is_counted(folders, tmp_path):
    base, tuned, target = map(str, folders)
    _, statistics = transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=tmp_path / "out",
        scale="1e39",
        dtype="auto",
        memory=MEMORY,
        verified=False,
    )
    assert statistics.summary()["overflowed elements"] > 0


def test_a_vocabulary_size_that_the_config_has_wrong_is_put_right(folders, tmp_path):
    make_checkpoint(tmp_path / "grown", seed=1, shards=3, vocab=[*WORDS, "extra"])
    config = json.loads((tmp_path / "grown/config.json").read_text())
    (tmp_path / "grown/config.json").write_text(json.dumps(config | {"vocab_size": 3}))
    transfer([folders[0], tmp_path / "grown", folders[2]], tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["vocab_size"] == config["vocab_size"]
