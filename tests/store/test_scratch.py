"""A copy that several share: made once, whole for whoever is in it, gone with the last of them."""

import multiprocessing
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

import components.store.scratch
from components.checkpoints import blocks
from components.checkpoints.description import verify
from components.errors import DigestMismatch, OutputConflict, ServiceUnavailable
from components.sources.folder import FolderSource
from components.store import copying
from components.store.folder import writer as folder_draft
from components.store.garbage import DIGEST, unused_folders
from components.store.scratch import scratch_copy
from tests.support.tinymodels import make_checkpoint

BLOCK = 1000


class Counting(FolderSource):
    """Counts what is read, and breaks off, or turns a bit, where it is told to."""

    fails_at: int | None = None
    flips = False

    def read_into(self, path, start, buffer):
        with (self.path.parent / "asked").open("a") as asked:
            asked.write(f"{path} {start}\n")
        if path == "model.safetensors" and start == self.fails_at:
            raise ServiceUnavailable("the server went away", hint="wait")
        super().read_into(path, start, buffer)
        if path == "model.safetensors" and self.flips:
            buffer[0] ^= 1

    def asked(self):
        """Files and offsets since the last look."""
        log = self.path.parent / "asked"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


class Failing(Counting):
    fails_at = 20 * BLOCK


class Flipping(Counting):
    flips = True


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(copying, "BLOCK", BLOCK)
    monkeypatch.setattr(blocks, "THREADS", 2)


@pytest.fixture
def model(tmp_path):
    return make_checkpoint(tmp_path / "model", shards=1)


@pytest.fixture
def checkpoint(model):
    return verify(FolderSource(path=model))


@pytest.fixture
def folder(tmp_path, checkpoint):
    return tmp_path / "scratch" / checkpoint.digest


def is_whole(folder, checkpoint):
    return verify(FolderSource(path=folder)).digest == checkpoint.digest


def test_those_who_want_it_at_once_are_in_it_at_once_and_one_made_it(model, checkpoint, folder):
    source, together, seen = Counting(path=model), threading.Barrier(4), []

    def use():
        with scratch_copy(checkpoint, source, folder):
            together.wait(timeout=30)
            seen.append(is_whole(folder, checkpoint))
            together.wait(timeout=30)

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    asked = source.asked()
    assert seen == [True] * 4
    assert len(asked) == len(set(asked))
    assert list(folder.parent.iterdir()) == []


def test_the_last_to_leave_removes_it(model, checkpoint, folder):
    source = Counting(path=model)
    with scratch_copy(checkpoint, source, folder):
        with scratch_copy(checkpoint, source, folder):
            pass
        assert is_whole(folder, checkpoint)
    assert list(folder.parent.iterdir()) == []


def test_it_is_gone_after_an_error_of_its_user(model, checkpoint, folder):
    with suppress(ZeroDivisionError), scratch_copy(checkpoint, FolderSource(path=model), folder):
        _ = 1 / 0
    assert list(folder.parent.iterdir()) == []


def test_one_that_was_broken_off_is_gone_on_with(model, checkpoint, folder):
    source = Failing(path=model)
    with pytest.raises(ServiceUnavailable), scratch_copy(checkpoint, source, folder):
        pytest.fail("it is not whole")
    before = set(source.asked()) - {f"model.safetensors {20 * BLOCK}"}
    again = Counting(path=model)
    with scratch_copy(checkpoint, again, folder):
        assert is_whole(folder, checkpoint)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert len(before) > 10
    # A block that was read when another failed need not have been written.
    assert len(before & set(again.asked())) <= 1


def test_wrong_bytes_are_not_handed_out_and_not_kept(model, checkpoint, folder):
    with pytest.raises(DigestMismatch), scratch_copy(checkpoint, Flipping(path=model), folder):
        pytest.fail("it is damaged")
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        assert is_whole(folder, checkpoint)


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_of_one_that_a_killed_process_left_good_files_are_not_fetched_again(model, checkpoint, folder):
    def die_inside():
        with scratch_copy(checkpoint, FolderSource(path=model), folder):
            os._exit(9)

    in_child(die_inside)
    source = Counting(path=model)
    with scratch_copy(checkpoint, source, folder):
        assert is_whole(folder, checkpoint)
    assert source.asked() == []
    in_child(die_inside)
    flip_last_bit(folder / "model.safetensors")
    with scratch_copy(checkpoint, source, folder):
        assert is_whole(folder, checkpoint)
    assert {line.split()[0] for line in source.asked()} == {"model.safetensors"}
    assert list(folder.parent.iterdir()) == []


def test_what_is_in_use_is_not_read_again_by_those_who_come(model, checkpoint, folder, monkeypatch):
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        monkeypatch.setattr(folder_draft, "sha256_file", lambda path: pytest.fail("it is read again"))
        with scratch_copy(checkpoint, FolderSource(path=model), folder):
            pass


def test_one_that_is_damaged_while_it_is_used_is_told(model, checkpoint, folder, monkeypatch, caplog):
    monkeypatch.setattr(components.store.scratch, "MOST_LOOKS", 20)
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        (folder / "config.json").write_text("{}")
        with (
            pytest.raises(OutputConflict, match=f"{folder} is in use") as refused,
            scratch_copy(checkpoint, FolderSource(path=model), folder),
        ):
            pytest.fail("it is not whole")
    assert "run the same command again" in refused.value.hint
    assert caplog.text.count("waiting") == 1
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        assert is_whole(folder, checkpoint)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: os.truncate(path, 10)])
def test_one_that_lost_something_is_made_again(model, checkpoint, folder, damage):
    def die_inside():
        with scratch_copy(checkpoint, FolderSource(path=model), folder):
            os._exit(9)

    in_child(die_inside)
    damage(folder / "model.safetensors")
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        assert is_whole(folder, checkpoint)


def test_it_is_nobodys_garbage_while_it_is_used(model, checkpoint, folder):
    later = datetime.now(UTC) + timedelta(hours=1)
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        assert list(unused_folders(folder.parent, DIGEST, "x", later)) == []
        assert is_whole(folder, checkpoint)


def test_it_is_left_where_it_came_into_use_after_it_was_told(model, checkpoint, folder):
    later = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(ServiceUnavailable), scratch_copy(checkpoint, Failing(path=model), folder):
        pytest.fail("it is not whole")
    (found,) = unused_folders(folder.parent, DIGEST, "x", later)
    with scratch_copy(checkpoint, FolderSource(path=model), folder):
        assert not found.remove()
        assert is_whole(folder, checkpoint)


def test_coming_and_going_in_a_tight_loop(model, checkpoint, folder):
    def come_and_go():
        for _ in range(12):
            with scratch_copy(checkpoint, FolderSource(path=model), folder):
                assert (folder / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()

    children = [multiprocessing.get_context("fork").Process(target=come_and_go) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 3
    assert not folder.exists() or is_whole(folder, checkpoint)


def in_child(work):
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 9
