"""Killed at any moment, a transfer leaves nothing incomplete to see, and a rerun ends the same."""

import errno
import fcntl
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from components.checkpoints.description import verify
from components.checkpoints.manifest import MANIFEST
from components.errors import BadCheckpoint, BadReference, OutputConflict, ServiceUnavailable, StorageFull
from components.sources.folder import FolderSource
from components.system.direct_io import ShardFile
from components.system.locks import exclusive_lock
from components.transfer import stream
from components.transfer.kernel import UNIT
from pipelines.cli.transfer import transfer_references
from tests.support.tinymodels import WORDS, make_checkpoint
from tests.transfer.test_against_reference import write_model

MEMORY = 16 << 20
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


@pytest.fixture
def folders(tmp_path):
    return [
        make_checkpoint(tmp_path / name, seed=seed, shards=3) for seed, name in enumerate(("base", "tuned", "target"))
    ]


def transfer(folders, output, scale="1"):
    base, tuned, target = map(str, folders)
    return transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=output,
        scale=scale,
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


def seen(folder):
    """Without what only a rerun needs, which goes once the rest is visible."""
    return {name: data for name, data in content(folder).items() if not name.startswith(".")}


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
            assert seen(output) == expected, point
            verify(FolderSource(path=output))
        transfer(folders, output)
        assert content(output) == expected, point
        assert [path.name for path in output.parent.iterdir() if path.is_dir()] == ["out"], point


def test_a_finished_shard_is_not_made_again(folders, tmp_path, monkeypatch):
    made = []
    real = stream.Stream._one_pass

    def failing(self, shard, *, computed):
        made.append(shard.file)
        if len(made) == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, shard, computed=computed)

    monkeypatch.setattr(stream.Stream, "_one_pass", failing)
    with pytest.raises(ServiceUnavailable, match="Input/output"):
        transfer(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    transfer(folders, tmp_path / "out")
    assert len(made) == 4
    assert made[2] == made[3]


def broken_off(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["transfer.publish", "transfer.FolderCheckpointWriter.tidy"])
def test_broken_off_around_publication_nothing_is_made_again(folders, tmp_path, monkeypatch, when):
    (tmp_path / ".out.txt.partial").write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr(f"components.transfer.{when}", broken_off)
        with pytest.raises(KeyboardInterrupt):
            transfer(folders, tmp_path / "out")
    monkeypatch.setattr(stream.Stream, "_one_pass", lambda *_, **__: pytest.fail("a shard was made again"))
    transfer(folders, tmp_path / "out")
    verify(FolderSource(path=tmp_path / "out"))
    hidden = {path.name for path in tmp_path.rglob(".*")}
    assert hidden == {".out.txt.partial"}, "what only a rerun needs stayed, or what is somebody's went"


def test_what_another_scale_left_for_the_same_output_is_removed(folders, tmp_path, monkeypatch):
    for output in ("out", "out.2"):
        with monkeypatch.context() as patched:
            patched.setattr("components.transfer.transfer.publish", broken_off)
            with pytest.raises(KeyboardInterrupt):
                transfer(folders, tmp_path / output, scale="0.5")
    assert len(list(tmp_path.glob(".out*.partial"))) == 2
    transfer(folders, tmp_path / "out", scale="1")
    (other,) = tmp_path.glob(".out*.partial")
    assert other.name.startswith(".out.2.")


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
    verify(FolderSource(path=tmp_path / "out"))


def test_no_room_is_told_before_anything_is_written(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(StorageFull, match="free"):
        transfer(folders, tmp_path / "out")


def test_a_second_process_is_told(folders, tmp_path):
    with exclusive_lock(tmp_path / "out", wait=False), pytest.raises(OutputConflict, match="another process"):
        transfer(folders, tmp_path / "out")


def test_a_damaged_finished_shard_is_made_again(folders, tmp_path):
    run_in_child(folders, tmp_path / "o" / "out", 0)
    expected = content(tmp_path / "o" / "out")
    for point in range(12, 40):
        output = tmp_path / f"damaged-{point}" / "out"
        run_in_child(folders, output, point)
        partial = next(output.parent.glob(".out.*.partial"), None)
        shards = sorted(partial.glob("model-*.safetensors")) if partial else []
        if shards and list(partial.glob(".*.finished")):
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

    def write(self, shard):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "precious").write_text("mine")
        return real(self, shard)

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
    verify(FolderSource(path=tmp_path / "real"))


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


ONE_UNIT = 2 * UNIT
"""Bytes of a span that holds one unit of 16-bit values."""


@pytest.fixture
def long_folders(tmp_path):
    """Three models of three shards of three spans, where a span is one unit."""
    folders = []
    for seed, name in enumerate(("base", "tuned", "target")):
        generator = torch.Generator().manual_seed(seed)
        tensors = {f"t{n}": torch.randn(3 * UNIT - 5 * n, generator=generator).bfloat16() for n in range(3)}
        folders.append(write_model(tmp_path / name, tensors, shards=3))
    return folders


class Killer:
    """Dies at point number `at` of those that it is told."""

    def __init__(self, at, counted):
        self._at = at
        self._counted = counted
        self._lock = threading.Lock()

    def point(self):
        with self._lock:
            self._counted.value += 1
            if self._counted.value == self._at:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def wrapped(*arguments):
            self.point()
            result = function(*arguments)
            self.point()
            return result

        return wrapped

    def before_one_in_three(self, function):
        calls = itertools.count()

        def wrapped(*arguments):
            if next(calls) % 3 == 0:
                self.point()
            return function(*arguments)

        return wrapped

    def within(self, write):
        """Before a write, and when a half of it is on the disk."""

        def wrapped(descriptor, data, offset):
            self.point()
            half = len(data) // 2 // 4096 * 4096
            if not half:
                return write(descriptor, data, offset)
            done = write(descriptor, data[:half], offset)
            self.point()
            return done + write(descriptor, data[done:], offset + done)

        return wrapped


def _run_in_spans(folders, output, kill_at, counted):
    """In a child: count reads, writes, syncs and renames of a transfer in small spans; die at one of them."""
    killer = Killer(kill_at, counted)
    stream.LARGEST_SPAN = ONE_UNIT
    os.preadv = killer.before_one_in_three(os.preadv)  # of the three models
    os.pwrite = killer.within(os.pwrite)
    ShardFile.finish = killer.around(ShardFile.finish)
    Path.replace = killer.around(Path.replace)
    transfer(folders, output)


def killed_in_spans(folders, output, kill_at):
    context = multiprocessing.get_context("fork")
    counted = context.Value("i", 0, lock=False)  # a lock would be held for ever by whom we kill
    child = context.Process(target=_run_in_spans, args=(folders, output, kill_at, counted))
    child.start()
    child.join()
    return child.exitcode, counted.value


def finished_shards(parent):
    return {path.name[1:].removesuffix(".finished") for path in parent.glob(".out.*.partial/.model-*.finished")}


def test_killed_around_and_within_any_read_write_sync_or_rename(long_folders, tmp_path, monkeypatch):
    made = []
    real = stream.Stream._one_pass

    def one_pass(self, shard, *, computed):
        made.append(shard.file)
        return real(self, shard, computed=computed)

    monkeypatch.setattr(stream.Stream, "_one_pass", one_pass)
    whole, _ = transfer(long_folders, tmp_path / "whole" / "out")
    expected = content(tmp_path / "whole" / "out")
    code, points = killed_in_spans(long_folders, tmp_path / "counted" / "out", 0)
    assert code == 0
    assert points >= 9 + 2 * 9 + 2 * 3 + 2 * 6
    found_finished = set()
    for point in range(1, points + 1):
        output = tmp_path / f"killed-{point}" / "out"
        code, _ = killed_in_spans(long_folders, output, point)
        assert code == -signal.SIGKILL, point
        if output.exists():
            assert seen(output) == expected, point
        finished = finished_shards(output.parent)
        found_finished.add(len(finished))
        made.clear()
        again, _ = transfer(long_folders, output)
        assert content(output) == expected, point
        assert again.digest == whole.digest, point
        assert again.derivation == whole.derivation, point
        assert not finished & set(made), point
        assert [path.name for path in output.parent.iterdir()] == ["out"], point
    assert found_finished == {0, 1, 2, 3}


def failing_at(function, number, error):
    """`function`, but for call `number`, which fails."""
    calls = []

    def wrapped(*arguments):
        calls.append(1)
        if len(calls) == number:
            raise OSError(error, os.strerror(error))
        return function(*arguments)

    return wrapped


@pytest.fixture
def in_spans(monkeypatch):
    monkeypatch.setattr(stream, "LARGEST_SPAN", ONE_UNIT)


@pytest.mark.parametrize("number", [1, 2, 9, 14, 27])
def test_a_read_that_fails(long_folders, tmp_path, monkeypatch, in_spans, number):
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", failing_at(os.preadv, number, errno.EIO))
        with pytest.raises(BadReference, match="Input/output error"):
            transfer(long_folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    goes_on_to_the_same_end(long_folders, tmp_path)


@pytest.mark.parametrize("number", [1, 2, 7, 12])
@pytest.mark.parametrize(("error", "told"), [(errno.EIO, ServiceUnavailable), (errno.ENOSPC, StorageFull)])
def test_a_write_that_fails(long_folders, tmp_path, monkeypatch, in_spans, number, error, told):
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_at(os.pwrite, number, error))
        with pytest.raises(told, match=r"Input/output|full"):
            transfer(long_folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    goes_on_to_the_same_end(long_folders, tmp_path)


@pytest.mark.parametrize("number", [1, 3])
def test_no_room_where_a_shard_is_begun(long_folders, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", failing_at(os.posix_fallocate, number, errno.ENOSPC))
        with pytest.raises(StorageFull, match="full"):
            transfer(long_folders, tmp_path / "out")
    assert len(finished_shards(tmp_path)) == number - 1
    assert not (tmp_path / "out").exists()
    goes_on_to_the_same_end(long_folders, tmp_path)


def goes_on_to_the_same_end(folders, tmp_path):
    transfer(folders, tmp_path / "out")
    transfer(folders, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    verify(FolderSource(path=tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out", "target", "tuned", "whole"]


@pytest.mark.parametrize("way", ["short", "not direct"])
def test_writes_that_the_system_makes_otherwise(long_folders, tmp_path, monkeypatch, in_spans, way):
    """Shorter than asked for, or past the page cache not at all."""
    transfer(long_folders, tmp_path / "whole")
    real = os.pwrite

    def pwrite(descriptor, data, offset):
        if way == "short":
            return real(descriptor, data[:4096], offset)
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    transfer(long_folders, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


HALTING = """
import pathlib, sys, time
from components.transfer import stream
from components.system.direct_io import ShardFile
from pipelines.cli.main import main

stream.LARGEST_SPAN = {span}
here = pathlib.Path({here!r})
real, calls = ShardFile.write, []

def write(self, offset, data):
    calls.append(1)
    if len(calls) > 6:  # the second shard's
        (here / "halted").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
    real(self, offset, data)

ShardFile.write = write
main()
"""
"""`recycle`, but that a transfer halts in its second shard until a file says go."""


@pytest.fixture
def halted(long_folders, tmp_path):
    """A process that halts in the middle of the transfer to tmp_path/there/out."""
    there = tmp_path / "there"
    there.mkdir()
    program = HALTING.format(span=ONE_UNIT, here=str(tmp_path))
    command = [sys.executable, "-c", program, *arguments(long_folders, there)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "halted").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[0]
    yield process
    process.kill()
    process.wait()


def arguments(folders, there):
    return ["transfer", *map(str, folders), str(there / "out")]


def recycle(folders, there):
    command = [sys.executable, "-m", "pipelines.cli.main", *arguments(folders, there)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def go(tmp_path):
    (tmp_path / "go").touch()


def test_of_two_processes_one_wins_and_the_other_says_so(halted, long_folders, tmp_path):
    there = tmp_path / "there"
    before = content(next(there.glob(".out.*.partial")))
    second = recycle(long_folders, there)
    assert second.returncode == 1, second.stderr
    assert "another process is writing" in second.stderr
    assert "What to do:" in second.stderr
    assert content(next(there.glob(".out.*.partial"))) == before
    go(tmp_path)
    output, _ = halted.communicate(timeout=60)
    assert halted.returncode == 0, output
    verify(FolderSource(path=there / "out"))
    third = recycle(long_folders, there)
    assert third.returncode == 0, third.stderr
    assert "already holds this result" in third.stdout
    assert [path.name for path in there.iterdir()] == ["out"]


def test_ctrl_c(halted, long_folders, tmp_path):
    there = tmp_path / "there"
    halted.send_signal(signal.SIGINT)
    time.sleep(0.2)
    go(tmp_path)
    output, _ = halted.communicate(timeout=60)
    assert halted.returncode == 130, output
    assert "Run the same command again" in output
    assert "Traceback" not in output
    assert not (there / "out").exists()
    assert len(finished_shards(there)) == 1
    again = recycle(long_folders, there)
    assert again.returncode == 0, again.stderr
    transfer(long_folders, tmp_path / "whole")
    assert content(there / "out") == content(tmp_path / "whole")
    assert [path.name for path in there.iterdir()] == ["out"]
