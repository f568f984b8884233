"""A draft, in a folder and in a bucket: invisible, written in any order, gone on from file by file."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from components.s3.bucket import Bucket
from components.store.folder.writer import FolderCheckpointWriter
from components.store.s3 import writer as s3_draft
from components.store.s3.writer import S3CheckpointWriter

PART = 5 << 20
SIZE = 2 * PART + 12_345
CONTENT = bytes(range(251)) * (SIZE // 251 + 1)
CONTENT = CONTENT[:SIZE]
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "bucket"])
def kind(request):
    return request.param


@pytest.fixture
def space(kind, tmp_path, request):
    """A place for drafts, and a store that has one file."""
    if kind == "folder":
        (tmp_path / "draft").mkdir()
        held = tmp_path / "held"
        held.write_bytes(b"of the store")
        known = {digest(b"of the store"): held}
        return SimpleNamespace(open=lambda: FolderCheckpointWriter(tmp_path / "draft", known.get))
    root = request.getfixturevalue("bucket_store")
    root.put("checkpoints/other/held", b"of the store")
    known = {digest(b"of the store"): "checkpoints/other/held"}
    return SimpleNamespace(open=lambda: S3CheckpointWriter(root.under("checkpoints/draft"), root, known.get))


@pytest.fixture
def writer(space):
    return space.open()


def digest(content):
    return hashlib.sha256(content).hexdigest()


def names(writer):
    """Everything that is there, seen or hidden."""
    if isinstance(writer, FolderCheckpointWriter):
        return {path.name for path in writer.folder.iterdir()} if writer.folder.exists() else set()
    return {entry.key for entry in writer.location.objects()}


def seen(writer):
    return {file.path: file.size for file in writer.source.files()}


def parts(size=SIZE, part=PART):
    return [(start, memoryview(CONTENT)[start : min(start + part, size)]) for start in range(0, size, part)]


def write(writer, path="w.safetensors", order=lambda parts: parts, block=None):
    with writer.create(path, SIZE, block=block) as output:
        for start, data in order(parts()):
            output.write(start, data)
        output.finish(SHA256, "a note")


@pytest.mark.parametrize("order", [list, lambda parts: parts[::-1]], ids=["forwards", "backwards"])
def test_a_file_is_there_when_it_is_finished_and_not_before(writer, order):
    with writer.create("w.safetensors", SIZE) as output:
        for start, data in order(parts()):
            output.write(start, data)
        assert seen(writer) == {}
        assert writer.finished("w.safetensors") is None
        output.finish(SHA256, "a note")
    assert seen(writer) == {"w.safetensors": SIZE}
    assert writer.source.read("w.safetensors") == CONTENT
    finished = writer.finished("w.safetensors")
    assert (finished.size, finished.sha256, finished.note) == (SIZE, SHA256, "a note")


def test_threads_write_side_by_side(writer):
    with writer.create("w.safetensors", SIZE) as output, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda part: output.write(*part), parts()))
        output.finish(SHA256)
    assert writer.source.read("w.safetensors") == CONTENT


@pytest.mark.parametrize("header", [8, 1000, PART - 1, PART, PART + 1])
def test_a_first_write_may_be_smaller_than_the_rest(writer, header):
    with writer.create("w.safetensors", SIZE) as output:
        output.write(0, memoryview(CONTENT)[:header])
        middle = header + PART + 7
        output.write(middle, memoryview(CONTENT)[middle:])  # the last one, whatever its size
        output.write(header, memoryview(CONTENT)[header:middle])
        output.finish(SHA256)
    assert writer.source.read("w.safetensors") == CONTENT


@pytest.mark.parametrize("size", [0, 1, 1000, PART - 1, PART, PART + 1])
def test_any_size(writer, size):
    content = CONTENT[:size]
    with writer.create("w.safetensors", size, block=PART) as output:
        for start, data in parts(size):
            output.write(start, data)
        output.finish(digest(content))
    assert seen(writer) == {"w.safetensors": size}
    assert writer.source.read("w.safetensors") == content
    assert writer.finished("w.safetensors").sha256 == digest(content)


def test_what_was_broken_off_is_gone_on_from(space):
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        assert output.present == frozenset()
        output.write(PART, memoryview(CONTENT)[PART : 2 * PART])
    writer = space.open()
    assert seen(writer) == {}
    with writer.create("w.safetensors", SIZE, block=PART) as output:
        assert output.present == {PART}
        for start, data in parts():
            if start not in output.present:
                output.write(start, data)
        assert output.read_back() == SHA256
        output.finish(SHA256)
    assert writer.source.read("w.safetensors") == CONTENT


def test_the_last_part_is_gone_on_from_too(space):
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        output.write(2 * PART, memoryview(CONTENT)[2 * PART :])
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        assert output.present == {2 * PART}


def test_without_a_block_size_it_is_begun_anew(space):
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        output.write(0, memoryview(bytes(PART)))
    with space.open().create("w.safetensors", SIZE) as output:
        assert output.present == frozenset()
        for start, data in parts():
            output.write(start, data)
        output.finish(SHA256)
    assert space.open().source.read("w.safetensors") == CONTENT


def test_a_file_that_now_has_another_size_is_begun_anew(space):
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        output.write(2 * PART, memoryview(CONTENT)[2 * PART :])
    with space.open().create("w.safetensors", SIZE + 1, block=PART) as output:
        assert output.present == frozenset()


@pytest.mark.parametrize("read_back", [False, True])
def test_what_is_discarded_is_made_again(space, read_back):
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        for start, data in parts():
            output.write(start, data)
        if read_back:
            output.read_back()
        output.discard()
    assert space.open().finished("w.safetensors") is None
    with space.open().create("w.safetensors", SIZE, block=PART) as output:
        assert output.present == frozenset()


def test_a_finished_file_that_was_changed_is_not_finished(writer):
    write(writer)
    changed = b"!" + CONTENT[1:]
    if isinstance(writer, FolderCheckpointWriter):
        (writer.folder / "w.safetensors").write_bytes(changed)
    else:
        writer.location.put("w.safetensors", changed)
    assert writer.finished("w.safetensors") is None
    write(writer)
    assert writer.source.read("w.safetensors") == CONTENT


def test_a_finished_file_that_was_removed_is_not_finished(writer):
    write(writer)
    if isinstance(writer, FolderCheckpointWriter):
        (writer.folder / "w.safetensors").unlink()
    else:
        writer.location.delete("w.safetensors")
    assert writer.finished("w.safetensors") is None


def test_a_file_of_the_store_is_taken_under_another_name(writer):
    assert writer.adopt("config.json", len(b"of the store"), digest(b"of the store"))
    assert writer.source.read("config.json") == b"of the store"
    assert writer.finished("config.json").sha256 == digest(b"of the store")


@pytest.mark.parametrize(("size", "content"), [(12, b"unknown"), (13, b"of the store")])
def test_a_file_that_the_store_has_not_is_not_taken(writer, size, content):
    assert not writer.adopt("config.json", size, digest(content))
    assert writer.finished("config.json") is None


def test_tidying_leaves_the_files_alone(writer):
    write(writer, block=PART)
    writer.tidy()
    assert names(writer) == {"w.safetensors"}
    assert writer.source.read("w.safetensors") == CONTENT


def test_of_a_discarded_draft_everything_is_made_again(writer):
    write(writer)
    writer.discard()
    assert writer.finished("w.safetensors") is None


class TestBucket:
    @pytest.fixture
    def kind(self):
        return "bucket"

    def test_every_upload_is_named_for_those_who_clean_up(self, writer):
        with writer.create("w.safetensors", SIZE, block=PART) as output:
            output.write(0, memoryview(CONTENT)[:PART])
        named = [name for name in names(writer) if name.endswith(".upload")]
        assert named == [f"{s3_draft.NOTES}w.safetensors.upload"]
        assert len(writer.location.uploads("w.safetensors")) == 1

    def test_none_stays_open_when_a_file_is_finished(self, writer):
        write(writer)
        assert writer.location.uploads("w.safetensors") == []

    def test_a_rerun_goes_on_in_the_same_upload(self, space):
        for start in (0, PART):
            with space.open().create("w.safetensors", SIZE, block=PART) as output:
                output.write(start, memoryview(CONTENT)[start : start + PART])
        assert len(space.open().location.uploads("w.safetensors")) == 1
        with space.open().create("w.safetensors", SIZE, block=PART) as output:
            assert output.present == {0, PART}

    def test_an_answer_that_was_lost_after_completing_is_no_error(self, writer, monkeypatch):
        real = Bucket.complete_upload

        def twice(*arguments):
            real(*arguments)
            real(*arguments)

        monkeypatch.setattr(Bucket, "complete_upload", twice)
        write(writer)
        assert writer.source.read("w.safetensors") == CONTENT

    def test_there_are_never_more_parts_than_a_server_takes(self, bucket_store, monkeypatch):
        size = 400 << 30
        numbers = []
        monkeypatch.setattr(Bucket, "put", lambda *_: None)
        monkeypatch.setattr(Bucket, "start_upload", lambda *_: "upload")
        monkeypatch.setattr(Bucket, "upload_part", lambda place, key, upload, number, data: numbers.append(number))
        with S3CheckpointWriter(bucket_store, bucket_store, {}.get).create("w.safetensors", size) as output:
            step = -(-size // 9_999)
            for start in (0, step, size // step * step):
                output.write(start, memoryview(bytes(PART)))
        assert numbers[:2] == [1, 2]
        assert numbers[2] <= 10_000
