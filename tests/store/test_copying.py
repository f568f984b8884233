"""Files on their way from a source into a draft: whole, verified, by blocks, and never twice."""

import hashlib
import sys
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from components.checkpoints import blocks
from components.checkpoints.description import digest_of_file
from components.checkpoints.files import SourceFile
from components.errors import DigestMismatch, ServiceUnavailable
from components.store import copying
from components.store.copying import copy_file, copy_files, write_file
from components.store.folder.writer import FolderCheckpointWriter
from components.store.store import open_store

BLOCK = 1000
CONTENT = bytes(range(256)) * 40 + b"end"


@dataclass
class Memory:
    """Files in memory that are read as those of a server are, each read noted."""

    contents: dict[str, bytes]
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    manifest: None = None
    name: str = "memory"
    reference: str = "memory:"

    def read_into(self, path, start, buffer):
        self.asked.append((path, start, len(buffer)))
        buffer[:] = self.contents[path][start : start + len(buffer)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(copying, "BLOCK", BLOCK)


@pytest.fixture
def writer(tmp_path):
    (tmp_path / "draft").mkdir()
    return FolderCheckpointWriter(tmp_path / "draft")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listed(path, content, **known):
    return SourceFile(path=path, size=len(content), **known)


def named(writer):
    return {path.name for path in writer.folder.iterdir()}


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, len(CONTENT)])
@pytest.mark.parametrize("known", [lambda content: {}, lambda content: {"sha256": sha256(content)}], ids=["", "sha256"])
def test_a_file_comes_whole_and_every_byte_once(writer, size, known):
    content, told = CONTENT[:size], []
    source = Memory({"w": content})
    copied = copy_file(source, listed("w", content, **known(content)), writer, told.append)
    assert (copied.path, copied.size, copied.sha256) == ("w", size, sha256(content))
    assert (writer.folder / "w").read_bytes() == content
    assert sum(told) == size
    assert sorted(source.asked) == [("w", start, min(BLOCK, size - start)) for start in range(0, size, BLOCK)]


def test_many_files_keep_their_order(writer):
    contents = {f"file-{number}": CONTENT[: 700 * number] for number in range(8)}
    source = Memory(contents)
    copied = copy_files(source, [listed(path, content) for path, content in contents.items()], writer)
    assert [file.path for file in copied] == list(contents)
    assert [file.sha256 for file in copied] == [sha256(content) for content in contents.values()]


def test_blocks_that_come_in_any_order_are_digested_in_theirs(writer, monkeypatch):
    class Slow(Memory):
        def read_into(self, path, start, buffer):
            time.sleep(0.02 if start % (2 * BLOCK) == 0 else 0)
            super().read_into(path, start, buffer)

    assert copy_file(Slow({"w": CONTENT}), listed("w", CONTENT), writer, lambda done: None).sha256 == sha256(CONTENT)
    assert digest_of_file(Slow({"w": CONTENT}), "w", len(CONTENT)) == sha256(CONTENT)


def test_blocks_are_asked_for_side_by_side_and_not_all_at_once(writer):
    inside, most, lock = [0], [0], threading.Lock()

    class Counted(Memory):
        def read_into(self, path, start, buffer):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            super().read_into(path, start, buffer)
            with lock:
                inside[0] -= 1

    content = bytes(50 * BLOCK)
    copy_file(Counted({"w": content}), listed("w", content), writer, lambda done: None)
    assert 2 <= most[0] <= blocks.THREADS


@pytest.mark.parametrize("size", [BLOCK // 2, 5 * BLOCK])
@pytest.mark.parametrize("known", [{"sha256": sha256(b"other")}, {"git_blob": git_blob(b"other")}])
def test_bytes_that_are_not_what_the_source_records_are_refused_and_not_kept(writer, size, known):
    content = CONTENT[:size]
    source = Memory({"w": content})
    with pytest.raises(DigestMismatch, match="w of memory:") as failure:
        copy_file(source, listed("w", content, **known), writer, lambda done: None)
    assert "run the same command again" in failure.value.hint
    assert named(writer) == set()
    assert writer.finished("w") is None


@pytest.mark.parametrize("size", [0, BLOCK // 2, 5 * BLOCK])
def test_what_git_names_is_checked_by_its_blob(writer, size):
    content = CONTENT[:size]
    copied = copy_file(
        Memory({"w": content}), listed("w", content, git_blob=git_blob(content)), writer, lambda done: None
    )
    assert copied.sha256 == sha256(content)


@pytest.mark.parametrize("known", [{}, {"sha256": sha256(CONTENT)}, {"git_blob": git_blob(CONTENT)}])
def test_a_finished_file_is_not_read_again(writer, known):
    source = Memory({"w": CONTENT})
    first = copy_file(source, listed("w", CONTENT, **known), writer, lambda done: None)
    source.asked.clear()
    told = []
    assert copy_file(source, listed("w", CONTENT, **known), writer, told.append) == first
    assert source.asked == []
    assert told == [len(CONTENT)]


def test_a_finished_file_of_which_the_source_now_says_something_else_is_read_again(writer):
    old, new = CONTENT, CONTENT[::-1]
    copy_file(Memory({"w": old}), listed("w", old), writer, lambda done: None)
    copy_file(Memory({"w": new}), listed("w", new, sha256=sha256(new)), writer, lambda done: None)
    assert (writer.folder / "w").read_bytes() == new


class Failing(Memory):
    """Breaks off where it is told to."""

    at = 6 * BLOCK

    def read_into(self, path, start, buffer):
        if start == self.at:
            raise ServiceUnavailable("the server went away", hint="wait")
        super().read_into(path, start, buffer)


def test_an_error_ends_it_soon_and_a_rerun_reads_only_what_is_missing(writer):
    content = bytes(range(250)) * 800
    source = Failing({"w": content})
    with pytest.raises(ServiceUnavailable, match="went away"):
        copy_file(source, listed("w", content, sha256=sha256(content)), writer, lambda done: None)
    first = {start for _, start, _ in source.asked}
    assert len(first) < len(content) / BLOCK / 2, "it went on with the rest"
    assert "w" not in named(writer)
    again, told = Memory({"w": content}), []
    copied = copy_file(again, listed("w", content, sha256=sha256(content)), writer, told.append)
    assert copied.sha256 == sha256(content)
    assert (writer.folder / "w").read_bytes() == content
    assert sum(told) == len(content)
    assert first.isdisjoint({start for _, start, _ in again.asked})


def test_blocks_that_an_earlier_try_left_damaged_are_found_out_and_not_kept(writer):
    content = bytes(range(250)) * 80
    with pytest.raises(ServiceUnavailable):
        copy_file(Failing({"w": content}), listed("w", content, sha256=sha256(content)), writer, lambda done: None)
    with (writer.folder / ".w.part").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(DigestMismatch):
        copy_file(Memory({"w": content}), listed("w", content, sha256=sha256(content)), writer, lambda done: None)
    copy_file(Memory({"w": content}), listed("w", content, sha256=sha256(content)), writer, lambda done: None)
    assert (writer.folder / "w").read_bytes() == content


def test_an_error_in_one_of_many_small_files_is_told(writer):
    source = Failing({f"file-{number}": CONTENT[:BLOCK] for number in range(20)})
    source.at = 0
    with pytest.raises(ServiceUnavailable, match="went away"):
        copy_files(source, [listed(path, content) for path, content in source.contents.items()], writer)


def test_a_file_that_the_store_has_is_not_read(writer):
    adopted = []
    store = SimpleNamespace(
        finished=lambda path: None,
        recover=lambda *_: False,
        adopt=lambda path, size, digest: adopted.append((path, size, digest)) or True,
    )
    source, told = Memory({"w": CONTENT}), []
    copied = copy_file(source, listed("w", CONTENT, sha256=sha256(CONTENT)), store, told.append)
    assert adopted == [("w", len(CONTENT), sha256(CONTENT))]
    assert (copied.sha256, source.asked, told) == (sha256(CONTENT), [], [len(CONTENT)])


@pytest.fixture(params=["folder", "bucket"])
def any_writer(request, tmp_path):
    if request.param == "folder":
        return request.getfixturevalue("writer")
    request.getfixturevalue("bucket_store")
    return open_store().writer(tmp_path / "save-x")


class TestKilledBeforeTheNoteOfAFile:
    """A file that is complete in the draft, and of which the draft does not know."""

    def copied_and_forgotten(self, writer, content, monkeypatch):
        with monkeypatch.context() as dying:
            dying.setattr(sys.modules[type(writer).__module__], "_keep", die)
            with pytest.raises(ZeroDivisionError):
                copy_file(Memory({"w": content}), listed("w", content), writer, lambda done: None)
        assert writer.finished("w") is None

    @pytest.mark.parametrize("blocks", [1, 2])
    def test_it_is_not_read_from_the_source_again(self, any_writer, monkeypatch, blocks):
        monkeypatch.setattr(copying, "BLOCK", 6 << 20)
        content = bytes(6 << 20) * (blocks - 1) + CONTENT
        self.copied_and_forgotten(any_writer, content, monkeypatch)
        again, told = Memory({"w": content}), []
        copied = copy_file(again, listed("w", content, sha256=sha256(content)), any_writer, told.append)
        assert (again.asked, told) == ([], [len(content)])
        assert copied.sha256 == sha256(content)
        assert any_writer.finished("w").sha256 == sha256(content)

    @pytest.mark.parametrize("known", [{}, {"sha256": sha256(CONTENT)}])
    def test_of_another_content_it_is(self, any_writer, monkeypatch, known):
        self.copied_and_forgotten(any_writer, CONTENT[::-1], monkeypatch)
        again = Memory({"w": CONTENT})
        copied = copy_file(again, listed("w", CONTENT, **known), any_writer, lambda done: None)
        assert again.asked
        assert copied.sha256 == sha256(CONTENT)
        assert any_writer.source.read("w") == CONTENT


def die(*_):
    raise ZeroDivisionError


class TestWriteFile:
    def test_writes_it(self, writer):
        written = write_file(writer, "config.json", b"{}")
        assert (written.path, written.size, written.sha256) == ("config.json", 2, sha256(b"{}"))
        assert writer.source.read("config.json") == b"{}"

    def test_leaves_what_is_there(self, writer):
        write_file(writer, "config.json", b"{}")
        before = (writer.folder / "config.json").stat().st_mtime_ns
        write_file(writer, "config.json", b"{}")
        assert (writer.folder / "config.json").stat().st_mtime_ns == before

    def test_replaces_other_content(self, writer):
        write_file(writer, "config.json", b"{}")
        write_file(writer, "config.json", b"[]")
        assert writer.source.read("config.json") == b"[]"
