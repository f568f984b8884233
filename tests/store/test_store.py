"""What every store of checkpoints does, in a folder and in a bucket of a MinIO server."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
import tracemalloc
import urllib.request
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from components import settings
from components.checkpoints import blocks
from components.checkpoints.description import describe, verify
from components.checkpoints.layout import read_layout
from components.checkpoints.manifest import MANIFEST, Checkpoint, File
from components.errors import (
    BadCheckpoint,
    BadParameter,
    BadReference,
    DigestMismatch,
    OutputConflict,
    StorageFull,
)
from components.references.open import open_source
from components.references.save import save_checkpoint
from components.s3 import client as s3_client
from components.s3.bucket import Bucket
from components.sources.folder import FolderSource
from components.sources.s3 import S3Source
from components.store import copying
from components.store.copying import copy_files
from components.store.locate import local_copy, open_checkpoint
from components.store.s3 import store as s3_store
from components.store.s3.manifest import MARK
from components.store.store import open_store
from components.system.files import sha256_file
from components.system.locks import exclusive_lock
from components.transfer.shards import ROLES
from tests.support.fakehub import FakeHub
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint

MIB = 1 << 20


@pytest.fixture(params=["folder", "bucket"])
def kind(request):
    return request.param


@pytest.fixture
def store(kind, request, tmp_path, monkeypatch):
    if kind == "bucket":
        request.getfixturevalue("bucket_store")
    else:
        monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    return open_store()


@pytest.fixture
def hub(monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def moved(monkeypatch):
    """Counts the bytes that are read from sources and written to drafts by blocks, and the small objects written."""
    counts = Counter()

    def counted(owner, name, size):
        real = getattr(owner, name)

        def count(*arguments, **named):
            counts[name] += size(*arguments)
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, count)

    counted(FolderSource, "read_into", lambda source, path, start, buffer: len(buffer))
    counted(Bucket, "upload_part", lambda place, key, upload, number, data: len(data))
    counted(Bucket, "put", lambda place, key, content: len(content))
    return counts


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def content(checkpoint):
    """What the store keeps of a checkpoint, by file."""
    source = open_checkpoint(checkpoint)
    return {file.path: source.read(file.path) for file in source.files()}


def everything(store):
    """Every name in the store, with the time it was written."""
    if isinstance(store, s3_store.S3Store):
        return {entry.key: entry.modified for entry in store.root.objects()}
    files = (path for path in store.root.rglob("*") if path.is_file())
    return {path.relative_to(store.root).as_posix(): path.stat().st_mtime_ns for path in files}


def places(store):
    """The folders, or prefixes, that hold checkpoints or what may become one."""
    found = (re.match(r"(checkpoints|staging)/([^/]+)/", name) for name in everything(store))
    return {match[0] for match in found if match}


def visible(store):
    return {checkpoint.digest for checkpoint in checkpoints_in(store)}


def overwrite(checkpoint, path, data):
    """Change a file of a published checkpoint behind the store's back."""
    if checkpoint.uri.startswith("s3://"):
        Bucket.at(checkpoint.uri).put(path, data)
    else:
        Path(checkpoint.uri.removeprefix("file://"), path).write_bytes(data)


def flipped(data, at=-5):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def put_beside(store, folder, name):
    """The files of a folder where another program could have left them, as a reference."""
    if not isinstance(store, s3_store.S3Store):
        return str(shutil.copytree(folder, folder.with_name(name)))
    place = Bucket(store.root.name, f"{store.root.prefix}-others/{name}")
    for path in folder.iterdir():
        place.put(path.name, path.read_bytes())
    return place.uri


def in_processes(work, *arguments):
    """Run `work` at once in a process for each of `arguments`, and return what each gave."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_in_child, args=(work, argument, queue)) for argument in arguments]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert not [result for result in results if isinstance(result, BaseException)], results
    return results


def _in_child(work, argument, queue):
    s3_client.connect.cache_clear()  # connections are not for two processes
    try:
        queue.put(work(argument))
    except BaseException as error:
        queue.put(RuntimeError(repr(error)))


def save(reference):
    return save_checkpoint(str(reference), open_store()).digest


def save_elsewhere(home_and_reference):
    """As on a machine of its own, which shares the store and nothing else."""
    home, reference = home_and_reference
    os.environ["RECYCLE_HOME"] = str(home)
    return save(reference)


class TestSaving:
    def test_a_saved_folder_is_the_same_files_under_their_digest(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model", shards=2)
        saved = save_checkpoint(str(source), store)
        assert content(saved) == files(source)
        assert saved.uri.startswith(f"{store.uri}/checkpoints/")
        assert verify(open_checkpoint(saved)).digest == saved.digest
        assert store.find(saved.digest).files == saved.files
        assert saved.name == "model"
        assert visible(store) == {saved.digest}
        assert len(places(store)) == 1
        assert not [name for name in everything(store) if "/." in name], "what only a rerun needs stayed"

    def test_saving_it_again_moves_nothing(self, store, tmp_path, moved):
        source = make_checkpoint(tmp_path / "model", shards=2)
        first = save_checkpoint(str(source), store)
        before = everything(store)
        moved.clear()
        assert save_checkpoint(str(source), store) == first
        assert moved.total() == 0
        assert everything(store) == before

    def test_the_same_content_under_another_name_is_one_checkpoint(self, store, tmp_path):
        first = save_checkpoint(str(make_checkpoint(tmp_path / "one")), store)
        before = {name: written for name, written in everything(store).items() if name.startswith("checkpoints/")}
        second = save_checkpoint(str(make_checkpoint(tmp_path / "two")), store)
        assert (first.digest, first.name, second.name) == (second.digest, "one", "two")
        assert second.uri == first.uri
        after = {name: written for name, written in everything(store).items() if name.startswith("checkpoints/")}
        assert after == before, "what was made a second time stayed"
        assert len(places(store)) == 1

    def test_other_content_under_the_same_name_is_another_checkpoint(self, store, tmp_path):
        first = save_checkpoint(str(make_checkpoint(tmp_path / "one", seed=0)), store)
        second = save_checkpoint(str(make_checkpoint(tmp_path / "one", seed=1)), store)
        assert first.digest != second.digest
        assert visible(store) == {first.digest, second.digest}

    def test_two_that_save_the_same_at_once_end_with_one(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model", hidden=256)
        digests = set(in_processes(save, *[source] * 4))
        assert len(digests) == 1
        assert visible(store) == digests
        assert len(places(store)) == 1

    def test_two_machines_that_save_the_same_at_once_end_with_one(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr(copying, "BLOCK", 5 * MIB)
        source = make_checkpoint(tmp_path / "model", hidden=512)
        digests = set(in_processes(save_elsewhere, *[(tmp_path / f"home-{number}", source) for number in range(3)]))
        assert visible(store) == digests
        assert len(places(store)) == 1
        assert content(store.find(digests.pop())) == files(source)

    def test_two_machines_that_save_the_same_from_two_places_end_with_one(self, store, tmp_path):
        sources = [make_checkpoint(tmp_path / f"model-{number}", hidden=256) for number in range(3)]
        homes = [tmp_path / f"home-{number}" for number in range(3)]
        digests = set(in_processes(save_elsewhere, *zip(homes, sources, strict=True)))
        assert visible(store) == digests
        assert len(places(store)) == 1
        assert content(store.find(digests.pop())) == files(sources[0])

    def test_a_tokenizer_without_a_pad_token_gets_its_end_token(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model")
        config = json.loads((source / "tokenizer_config.json").read_text())
        config.pop("pad_token", None)
        (source / "tokenizer_config.json").write_text(json.dumps(config))
        saved = save_checkpoint(str(source), store)
        assert json.loads(content(saved)["tokenizer_config.json"])["pad_token"] == config["eos_token"]
        assert save_checkpoint(str(source), store).digest == saved.digest

    def test_memory_does_not_grow_with_the_size(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr(copying, "BLOCK", 5 * MIB)
        monkeypatch.setattr(blocks, "THREADS", 2)
        source = make_checkpoint(tmp_path / "model", hidden=512, layers=14)
        assert (source / "model.safetensors").stat().st_size > 60 * MIB
        tracemalloc.start()
        try:
            save_checkpoint(str(source), store)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 35 * MIB


class TestSources:
    def test_files_without_a_manifest(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model", shards=2)
        reference = put_beside(store, source, "raw")
        saved = save_checkpoint(reference, store)
        assert content(saved) == files(source)
        assert saved.name == "raw"
        assert reference in saved.origin.values()
        assert save_checkpoint(reference, store) == saved

    def test_files_that_changed_are_saved_anew(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model")
        first = save_checkpoint(put_beside(store, source, "raw"), store)
        changed = make_checkpoint(tmp_path / "model", seed=3)
        if (tmp_path / "raw").exists():
            shutil.rmtree(tmp_path / "raw")
        second = save_checkpoint(put_beside(store, changed, "raw"), store)
        assert second.digest != first.digest
        assert content(second) == files(changed)

    def test_a_checkpoint_of_another_store_by_folder_or_prefix(self, store, tmp_path, monkeypatch):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "another"))
        again = save_checkpoint(saved.uri, open_store())
        assert (again.digest, again.name, again.origin) == (saved.digest, "model", saved.origin)
        assert again.uri.startswith((tmp_path / "another").as_uri())

    def test_a_manifest_file(self, store, tmp_path):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        (tmp_path / "travels.json").write_bytes(saved.to_json())
        before = places(store)
        assert save_checkpoint(str(tmp_path / "travels.json"), store).digest == saved.digest
        assert places(store) == before

    def test_a_model_of_the_registry(self, store, kind, tmp_path, registry):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        name = f"recycled-{kind}"
        registry.create_registered_model(name)
        registry.create_model_version(name, source=saved.uri)
        # A server may refuse a folder as the source: the tag then says it.
        registry.create_model_version(name, source="dbfs:/elsewhere", tags={"recycle.uri": saved.uri})
        registry.set_registered_model_alias(name, "champion", "2")
        for reference in (f"models:/{name}/1", f"models:/{name}/2", f"models:/{name}@champion"):
            assert save_checkpoint(reference, store).digest == saved.digest

    def test_from_the_hub_verified_and_pinned(self, store, tmp_path, hub):
        source = make_checkpoint(tmp_path / "model", shards=2)
        (source / "pytorch_model.bin").write_bytes(b"a pickle")
        (source / "modeling.py").write_text("raise SystemExit")
        commit = hub.add("org/name", source, branch="main")
        saved = save_checkpoint("org/name@main", store)
        assert saved.origin["commit"] == commit
        assert saved.origin["revision"] == "main"
        assert not set(content(saved)) & {"pytorch_model.bin", "modeling.py"}
        hub.seen.clear()
        assert save_checkpoint("org/name@main", store).digest == saved.digest
        assert bytes_asked(hub.requests("", storage=True)) < 8_192, "more than headers came again"

    def test_the_hub_is_asked_for_ranges_side_by_side(self, store, tmp_path, hub, monkeypatch):
        monkeypatch.setattr(copying, "BLOCK", 5 * MIB)
        source = make_checkpoint(tmp_path / "model", hidden=512, layers=3)
        hub.add("org/name", source)
        saved = save_checkpoint("org/name", store)
        assert content(saved) == files(source)
        size = (source / "model.safetensors").stat().st_size
        asked = {seen.headers["range"] for seen in hub.requests("model.safetensors", storage=True)}
        assert {f"bytes={at}-{min(at + 5 * MIB, size) - 1}" for at in range(0, size, 5 * MIB)} <= asked
        assert not (settings.home() / "scratch").exists()

    def test_a_shard_that_the_store_has_is_not_fetched_again(self, store, tmp_path, hub):
        first = make_checkpoint(tmp_path / "first", hidden=256, shards=2)
        hub.add("org/name", first, tag="v1")
        save_checkpoint("org/name@v1", store)
        second = make_checkpoint(tmp_path / "second", hidden=256, shards=2)
        kept, changed = sorted(second.glob("*.safetensors"))
        changed.write_bytes(flipped(changed.read_bytes()))
        hub.add("org/name", second, tag="v2")
        hub.seen.clear()
        saved = save_checkpoint("org/name@v2", store)
        assert bytes_asked(hub.requests(kept.name, storage=True)) < 65_536, "more than headers came again"
        assert bytes_asked(hub.requests(changed.name, storage=True)) > changed.stat().st_size
        assert content(saved) == files(second)

    def test_a_shard_that_the_store_has_damaged_is_not_taken(self, store, kind, tmp_path, hub):
        if kind == "bucket":
            pytest.skip("a server guards its objects' bytes itself; they are checked when they are read")
        first = make_checkpoint(tmp_path / "first", hidden=256)
        saved = save_checkpoint(str(first), store)
        overwrite(saved, "model.safetensors", flipped((first / "model.safetensors").read_bytes()))
        (first / "NOTICE").write_text("another checkpoint")
        hub.add("org/name", first)
        assert content(save_checkpoint("org/name", store)) == files(first)

    def test_bytes_that_differ_from_the_hubs_record_are_refused(self, store, tmp_path, hub):
        hub.add("org/name", make_checkpoint(tmp_path / "model"))
        with urllib.request.urlopen(f"{hub.url}/api/models/org/name/revision/main?blobs=true") as answer:
            hub.siblings = json.load(answer)["siblings"]
        weights = next(sibling for sibling in hub.siblings if sibling["rfilename"] == "model.safetensors")
        honest = weights["lfs"]["sha256"]
        weights["lfs"]["sha256"] = "0" * 64
        with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
            save_checkpoint("org/name", store)
        assert visible(store) == set()
        weights["lfs"]["sha256"] = honest
        saved = save_checkpoint("org/name", store)
        assert visible(store) == {saved.digest}


def bytes_asked(requests):
    spans = (re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers["range"]) for seen in requests)
    return sum(int(span[2]) + 1 - int(span[1]) for span in spans)


@pytest.fixture(scope="module")
def registry_uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def registry(registry_uri, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry_uri)
    return MlflowClient(registry_uri)


class TestBrokenOff:
    def test_a_saver_killed_anywhere_leaves_nothing_visible_and_is_gone_on_from(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model", hidden=512, layers=6, shards=4)
        context = multiprocessing.get_context("fork")
        kills = 0
        for delay in (0.02, 0.06, 0.12, 0.25):
            worker = context.Process(target=_in_child, args=(save, source, context.SimpleQueue()))
            worker.start()
            time.sleep(delay)
            if worker.is_alive():
                os.kill(worker.pid, signal.SIGKILL)
                kills += 1
            worker.join()
            for checkpoint in checkpoints_in(store):
                assert verify(store.source(checkpoint)).digest == checkpoint.digest
        assert kills
        saved = save_checkpoint(str(source), store)
        assert content(saved) == files(source)
        assert len(places(store)) == 1

    def test_a_damaged_staged_file_is_copied_again(self, store, tmp_path, monkeypatch):
        source = make_checkpoint(tmp_path / "model", shards=2)
        save_until_published(source, store, monkeypatch)
        assert visible(store) == set()
        damage_staged(store, "model-00001-of-00002.safetensors")
        assert content(save_checkpoint(str(source), store)) == files(source)

    def test_finished_files_are_not_read_again(self, store, tmp_path, monkeypatch, moved):
        source = make_checkpoint(tmp_path / "model", shards=2)
        save_until_published(source, store, monkeypatch)
        moved.clear()
        saved = save_checkpoint(str(source), store)
        assert moved["read_into"] == moved["upload_part"] == 0
        assert content(saved) == files(source)

    def test_complete_blocks_of_a_file_are_not_read_again(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr(copying, "BLOCK", 5 * MIB)
        monkeypatch.setattr(blocks, "THREADS", 2)
        source = make_checkpoint(tmp_path / "model", hidden=512, layers=7)
        (source / MANIFEST).write_bytes(verify(FolderSource(path=source)).to_json())
        size = (source / "model.safetensors").stat().st_size
        asked, broken = [], 15 * MIB
        real = FolderSource.read_into

        def read_into(self, path, start, buffer):
            if len(buffer) > MIB:
                asked.append(start)
                if start == broken:
                    raise KeyboardInterrupt
            real(self, path, start, buffer)

        monkeypatch.setattr(FolderSource, "read_into", read_into)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(str(source), store)
        before, broken = set(asked), None
        asked.clear()
        saved = save_checkpoint(str(source), store)
        assert {15 * MIB} <= set(asked)
        assert len(set(asked) & before) <= 2, "blocks that were complete came again"
        assert set(asked) | before == set(range(0, size, 5 * MIB))
        assert content(saved) == files(source)
        assert len(places(store)) == 1

    def test_work_that_is_refused_leaves_no_staging(self, store):
        def refuse(folder):
            raise BadParameter("no", hint="nothing")

        with pytest.raises(BadParameter):
            store.get_or_create("work", lambda: None, refuse)
        assert places(store) == set()
        assert not any(path.is_dir() for path in settings.home().rglob("staging/*"))

    def test_a_manifest_without_all_of_its_files_is_not_published(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model")

        def make(work):
            writer = store.writer(work)
            layout = read_layout(FolderSource(path=source))
            kept = copy_files(layout.source, layout.files, writer)
            lie = tuple(file.model_copy(update={"size": file.size + 1}) for file in kept)
            there = replace(layout, source=writer.source)
            return store.publish(describe(there, name="lie", files=lie, origin={}))

        if isinstance(store, s3_store.S3Store):
            with pytest.raises(BadCheckpoint, match="damaged"):
                store.get_or_create("work", lambda: None, make)
            assert visible(store) == set()


def save_until_published(source, store, monkeypatch):
    """Break off at the last moment."""
    with monkeypatch.context() as broken_off:
        broken_off.setattr(type(store), "publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(str(source), store)


def interrupt(*_):
    raise KeyboardInterrupt


def damage_staged(store, path):
    if isinstance(store, s3_store.S3Store):
        key = next(name for name in everything(store) if name.endswith(f"/{path}"))
        store.root.put(key, flipped(store.root.get(key)))
        return
    staged = next((store.root / "staging").rglob(path))
    staged.write_bytes(flipped(staged.read_bytes()))


def test_a_checkpoint_that_was_removed_is_saved_again(store, tmp_path):
    source = make_checkpoint(tmp_path / "model")
    saved = save_checkpoint(str(source), store)
    if saved.uri.startswith("s3://"):
        for entry in Bucket.at(saved.uri).objects():
            Bucket.at(saved.uri).delete(entry.key)
    else:
        shutil.rmtree(saved.uri.removeprefix("file://"))
    assert store.find(saved.digest) is None
    assert visible(store) == set()
    # Also from elsewhere, whose work has another name.
    assert save_checkpoint(str(shutil.copytree(source, tmp_path / "again")), store).digest == saved.digest
    assert content(store.find(saved.digest)) == files(source)


def lose(checkpoint, path, state):
    """Remove a file of a published checkpoint, or cut it short, behind the store's back."""
    if state == "short":
        overwrite(checkpoint, path, b"{}")
    elif checkpoint.uri.startswith("s3://"):
        Bucket.at(checkpoint.uri).delete(path)
    else:
        Path(checkpoint.uri.removeprefix("file://"), path).unlink()


def assert_whole(store, saved, source):
    assert visible(store) == {saved.digest}
    assert store.find_complete(saved.digest).uri == store.find(saved.digest).uri == saved.uri
    assert content(saved) == files(source)
    assert not [name for name in everything(store) if "/." in name], "what only a rerun needs stayed"


class TestRepair:
    @pytest.fixture
    def source(self, tmp_path):
        return make_checkpoint(tmp_path / "model", shards=2, hidden=256)

    @pytest.fixture(params=["same", "elsewhere"])
    def again(self, request, source, tmp_path):
        """The same content, from the place where it was saved from or from another, which is other work."""
        return source if request.param == "same" else shutil.copytree(source, tmp_path / "elsewhere")

    @pytest.mark.parametrize("state", ["missing", "short"])
    @pytest.mark.parametrize("path", ["config.json", "model-00001-of-00002.safetensors"])
    def test_what_lost_a_file_gets_it_back_when_it_is_saved_again(self, store, source, again, path, state):
        saved = save_checkpoint(str(source), store)
        lose(saved, path, state)
        assert store.find_complete(saved.digest) is None
        repaired = save_checkpoint(str(again), store)
        assert (repaired.digest, repaired.uri) == (saved.digest, saved.uri)
        assert_whole(store, saved, source)
        assert len(places(store)) == 1

    @pytest.mark.parametrize("manifest", [b"", b"{}", b"\xff\xfe", None], ids=["empty", "other", "bytes", "truncated"])
    def test_a_damaged_manifest_is_written_again(self, store, source, again, manifest, caplog):
        saved = save_checkpoint(str(source), store)
        overwrite(saved, MANIFEST, saved.to_json()[:200] if manifest is None else manifest)
        with pytest.raises(BadCheckpoint, match="not a checkpoint manifest"):
            store.manifest(saved.digest)
        assert store.find(saved.digest) is None
        assert "taken for absent" in caplog.text
        repaired = save_checkpoint(str(again), store)
        assert repaired.digest == saved.digest
        assert_whole(store, repaired, source)

    def test_what_is_whole_is_found_without_reading_a_file(self, store, source, moved, monkeypatch):
        saved = save_checkpoint(str(source), store)
        moved.clear()
        for owner in (FolderSource, S3Source):
            monkeypatch.setattr(owner, "read", lambda *_: pytest.fail("a file was read"))
        assert store.find_complete(saved.digest).digest == saved.digest
        assert moved.total() == 0

    def test_a_repair_that_is_broken_off_is_gone_on_with(self, store, kind, source, monkeypatch):
        saved = save_checkpoint(str(source), store)
        lost = ("model-00001-of-00002.safetensors", "config.json")
        for path in lost:
            lose(saved, path, "missing")
        with monkeypatch.context() as patched:
            if kind == "folder":
                break_off_after(2, Path, "replace", patched, lambda path, to: to.parent.parent.name == "checkpoints")
            else:
                break_off_after(0, Bucket, "put", patched, lambda place, key, *_: key == lost[0])
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(str(source), store)
        assert save_checkpoint(str(source), store).uri == saved.uri
        assert_whole(store, saved, source)

    def test_a_trained_checkpoint_that_lost_a_file_is_taken_again(self, store, source):
        """As a fine-tuned one is: from a folder, not from a draft."""

        def make(work):
            layout = read_layout(FolderSource(path=shutil.copytree(source, work / "model")))
            kept = tuple(
                File(path=file.path, size=file.size, sha256=sha256_file(source / file.path)) for file in layout.files
            )
            return describe(layout, name="model", files=kept, origin={})

        def train():
            return store.get_or_create_checkpoint("fine-tune", "0" * 64, make)

        saved = train()
        lose(saved, "config.json", "missing")
        assert train().uri == saved.uri
        assert_whole(store, saved, source)

    def test_remembered_bytes_that_are_no_text_are_made_again(self, store, kind, source, caplog):
        saved = save_checkpoint(str(source), store)
        for name in everything(store):
            if name.startswith(("results/", "digests/")):
                if kind == "bucket":
                    store.root.put(name, b"\xff\xfe")
                else:
                    (store.root / name).write_bytes(b"\xff\xfe")
        if kind == "bucket":
            with pytest.raises(BadCheckpoint, match=rf"digests/{saved.digest} is damaged: its 2 bytes are no text"):
                store.manifest(saved.digest)
        assert save_checkpoint(str(source), store) == saved
        assert "results/saved" in caplog.text
        assert_whole(store, saved, source)

    def test_a_killed_publication_is_gone_on_with_without_reading_anything_again(
        self, store, kind, source, monkeypatch, moved
    ):
        with monkeypatch.context() as patched:
            if kind == "folder":
                patched.setattr("components.store.folder.store.publish", interrupt)
            else:
                break_off_after(0, Bucket, "put", patched, lambda place, key, *_: key.startswith("digests/"))
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(str(source), store)
        moved.clear()
        saved = save_checkpoint(str(source), store)
        assert moved["read_into"] == moved["upload_part"] == 0
        assert_whole(store, saved, source)


def break_off_after(number, owner, name, patched, counts):
    """Stop at a call of a method, as if killed, after so many that count."""
    real, left = getattr(owner, name), [number]

    def limited(*arguments, **named):
        if counts(*arguments):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
        return real(*arguments, **named)

    patched.setattr(owner, name, limited)


class TestReading:
    def test_a_flipped_bit_is_found(self, store, tmp_path):
        source = make_checkpoint(tmp_path / "model")
        saved = save_checkpoint(str(source), store)
        overwrite(saved, "model.safetensors", flipped((source / "model.safetensors").read_bytes()))
        with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
            verify(open_checkpoint(saved))

    @pytest.mark.parametrize("state", ["missing", "short"])
    def test_a_file_that_is_missing_or_short_is_told(self, store, tmp_path, state):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        lose(saved, "config.json", state)
        with pytest.raises(BadCheckpoint, match=r"damaged: config\.json"):
            open_checkpoint(saved).files()

    def test_a_manifest_changed_by_hand_is_refused(self, store, tmp_path):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        document = json.loads(saved.to_json())
        document["files"][0]["size"] += 1
        overwrite(saved, MANIFEST, json.dumps(document).encode())
        with pytest.raises(BadCheckpoint, match="changed by hand"):
            store.manifest(saved.digest)
        with pytest.raises(BadCheckpoint, match="changed by hand"):
            open_checkpoint(saved)

    def test_a_store_that_moved_is_found_where_it_is(self, store, tmp_path, monkeypatch):
        source = make_checkpoint(tmp_path / "model")
        saved = save_checkpoint(str(source), store)
        monkeypatch.setenv("RECYCLE_STORE", move(store, tmp_path))
        moved = open_store()
        assert moved.uri != store.uri
        assert content(saved) == files(source)
        found = moved.find(saved.digest)
        assert found.uri.startswith(f"{moved.uri}/checkpoints/")
        assert open_source(found.uri).manifest.digest == saved.digest

    def test_weights_changed_beside_a_manifest_are_not_taken_for_the_old(self, store, tmp_path):
        # Large enough for a bucket to find them again by their content.
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model", hidden=256)), store)
        folder = make_checkpoint(tmp_path / "changed", hidden=256, seed=5)
        (folder / MANIFEST).write_bytes(saved.to_json())
        with pytest.raises(DigestMismatch):
            save_checkpoint(put_beside(store, folder, "beside"), store)

    def test_what_is_in_no_place_is_said_to_be_lost(self, store, tmp_path, monkeypatch):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
        lost = saved.model_copy(update={"uri": f"{store.uri}/checkpoints/nothing", "digest": "0" * 64})
        with pytest.raises(BadReference, match="neither at"):
            open_checkpoint(lost)
        with pytest.raises(BadReference, match="neither at"), local_copy(lost, store):
            pass

    @pytest.mark.parametrize("manifest", [b"garbage", b"{}", MARK + b'"run": "1"}\n'])
    def test_a_damaged_manifest_at_its_place_does_not_hide_what_the_store_has(self, store, tmp_path, manifest, caplog):
        source = make_checkpoint(tmp_path / "model")
        first = save_checkpoint(str(source), store)
        elsewhere = move_by_copy(first, store)
        overwrite(elsewhere, MANIFEST, manifest)
        assert content(elsewhere) == files(source)
        with local_copy(elsewhere, store) as folder:
            assert files(folder) == files(source)
        assert "taken for absent" in caplog.text

    def test_a_local_copy_is_verified_and_cleaned_up(self, store, kind, tmp_path):
        source = make_checkpoint(tmp_path / "model", shards=2)
        saved = save_checkpoint(str(source), store)
        with local_copy(saved, store) as folder:
            assert files(folder) == files(source)
            assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        if kind == "folder":
            assert folder == store.folder(saved.digest)
            assert files(folder) == files(source)
        else:
            assert list((settings.home() / "scratch").iterdir()) == []


class TestLocalCopyOfABucket:
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket_store):
        self.store = open_store()

    def test_is_gone_after_an_error_inside(self, tmp_path):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), self.store)
        with pytest.raises(ZeroDivisionError), local_copy(saved, self.store):
            _ = 1 / 0
        assert list((settings.home() / "scratch").iterdir()) == []

    def test_of_bytes_that_changed_is_refused(self, tmp_path):
        source = make_checkpoint(tmp_path / "model")
        saved = save_checkpoint(str(source), self.store)
        overwrite(saved, "model.safetensors", flipped((source / "model.safetensors").read_bytes()))
        with pytest.raises(DigestMismatch, match=r"model\.safetensors"), local_copy(saved, self.store):
            pytest.fail("it was handed out")
        assert not list((settings.home() / "scratch").rglob("model*"))

    def test_is_not_begun_without_room(self, tmp_path, monkeypatch):
        saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), self.store)
        monkeypatch.setattr("components.store.scratch.free_bytes", lambda folder: 1000)
        monkeypatch.setattr(S3Source, "read_into", lambda *_: pytest.fail("bytes were read"))
        with pytest.raises(StorageFull, match=r"1\.0 kB are free") as failure, local_copy(saved, self.store):
            pytest.fail("it was handed out")
        assert "RECYCLE_HOME" in failure.value.hint
        assert list((settings.home() / "scratch").iterdir()) == []

    def test_a_folder_with_the_files_needs_no_copy(self, tmp_path, moved):
        source = make_checkpoint(tmp_path / "model")
        manifest = verify(FolderSource(path=source))
        moved.clear()
        with local_copy(manifest, self.store) as folder:
            assert folder == source
        assert moved.total() == 0


def move_by_copy(checkpoint, store):
    """Another place of the store with the same checkpoint, which no digest names."""
    uri = f"{store.uri}/checkpoints/another"
    if uri.startswith("s3://"):
        for entry in Bucket.at(checkpoint.uri).objects():
            Bucket.at(uri).put(entry.key, Bucket.at(checkpoint.uri).get(entry.key))
    else:
        shutil.copytree(store.folder(checkpoint.digest), store.root / "checkpoints" / "another")
    return checkpoint.model_copy(update={"uri": uri})


def move(store, tmp_path):
    if not isinstance(store, s3_store.S3Store):
        store.root.rename(tmp_path / "moved")
        return str(tmp_path / "moved")
    there = Bucket(store.root.name, f"{store.root.prefix}-moved")
    for entry in store.root.objects():
        there.put(entry.key, store.root.get(entry.key))
        store.root.delete(entry.key)
    return there.uri


class TestDocuments:
    def test_are_recalled_and_the_last_writer_wins(self, store):
        assert store.get("kind", "key") is None
        store.put("kind", "key", "one")
        store.put("kind", "key", "zwei ü")
        assert store.get("kind", "key") == "zwei ü"
        assert store.get("kind", "other") is None

    def test_of_several_writers_at_once_one_wins(self, store):
        in_processes(remember_often, "one", "two", "three", "four")
        assert store.get("kind", "key") in ("one", "two", "three", "four")

    @pytest.mark.parametrize("digest", ["0" * 64, "garbage", "a\nb" * 400, "../../x", ""])
    def test_a_checkpoint_that_is_remembered_and_gone_is_none(self, store, digest):
        store.put("saved", "key", digest)
        assert store.get_checkpoint("saved", "key") is None

    @pytest.mark.parametrize("damaged", ['{"tensors": [{"na', "", "null", '{"other": 1}'])
    def test_damaged_statistics_of_a_transfer_are_made_again(self, store, tmp_path, damaged, caplog):
        from components.transfer.scale import parse_scale
        from components.transfer.transfer import derivation, transfer_in_store

        parents = {
            role: save_checkpoint(str(make_checkpoint(tmp_path / str(seed), seed=seed)), store)
            for seed, role in enumerate(ROLES)
        }
        made = transfer_in_store(parents, scale=parse_scale("1"), dtype="auto", store=store)
        key = derivation(parents, parse_scale("1"), "auto").key
        store.put("transfer-statistics", key, damaged)
        assert transfer_in_store(parents, scale=parse_scale("1"), dtype="auto", store=store) == made
        assert f"results/transfer-statistics/{key} is damaged" in caplog.text
        caplog.clear()
        assert transfer_in_store(parents, scale=parse_scale("1"), dtype="auto", store=store) == made
        assert "damaged" not in caplog.text

    def test_an_empty_store_has_none(self, store):
        assert checkpoints_in(store) == []
        assert store.find("0" * 64) is None


def test_a_transfer_from_store_to_store_is_that_of_folders(tmp_path, bucket_store, monkeypatch, moved):
    from components.transfer.scale import parse_scale
    from components.transfer.transfer import transfer_in_store

    monkeypatch.setenv("RECYCLE_MEMORY", "64MB")
    shape = {"shards": 2, "hidden": 512, "layers": 3}  # each shard takes several parts
    sources = [make_checkpoint(tmp_path / name, seed=seed, **shape) for seed, name in enumerate(("a", "b", "c"))]
    results = []
    for uri in (str(tmp_path / "store"), bucket_store.uri):
        monkeypatch.setenv("RECYCLE_STORE", uri)
        store = open_store()
        parents = {role: save_checkpoint(str(it), store) for role, it in zip(ROLES, sources, strict=True)}
        moved.clear()
        results.append(transfer_in_store(parents, scale=parse_scale("0.7"), dtype="auto", store=store))
        assert transfer_in_store(parents, scale=parse_scale("0.7"), dtype="auto", store=store) == results[-1]
    assert moved["read_into"] == 0, "something went by way of this machine's disk"
    assert not [path for path in settings.home().rglob("*") if path.is_file()]
    (by_folder, statistics), (by_bucket, same_statistics) = results
    assert by_bucket.digest == by_folder.digest
    assert same_statistics == statistics
    assert content(by_bucket) == files(tmp_path / "store" / "checkpoints" / by_folder.digest)
    assert moved["upload_part"] > 10 * MIB


class TestOnce:
    def test_work_that_several_want_at_once_is_done_once_and_leaves_no_staging(self, store, tmp_path):
        in_processes(want, *[tmp_path / "made"] * 4)
        assert (tmp_path / "made").read_text() == "once "
        assert not any(path.is_dir() for path in settings.home().rglob("staging/*"))


def remember_often(document):
    for _ in range(30):
        open_store().put("kind", "key", document)


def want(log):
    store = open_store()

    def make(folder):
        (folder / "leftover").write_text("")
        with log.open("a") as file:
            file.write("once ")
        time.sleep(0.2)
        store.put("kind", "key", "result")
        return "result"

    assert store.get_or_create("work", lambda: store.get("kind", "key"), make) == "result"


class TestClaims:
    def test_a_claim_is_for_one(self, tmp_path):
        refused = pytest.raises(OutputConflict, match="another process")
        with exclusive_lock(tmp_path / "out", wait=False), refused, exclusive_lock(tmp_path / "out", wait=False):
            pass
        with exclusive_lock(tmp_path / "out", wait=False):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_many_claims_of_one_place_in_a_tight_loop(self, tmp_path):
        in_processes(claim_often, *[tmp_path / "out"] * 4)


def claim_often(place):
    for _ in range(300):
        with exclusive_lock(place, wait=True):
            (place.parent / "inside").touch(exist_ok=False)
            (place.parent / "inside").unlink()


def test_a_registered_model_that_is_elsewhere_or_missing(registry):
    registry.create_registered_model("other")
    registry.create_model_version("other", source="hdfs://name/path")
    with pytest.raises(BadReference, match="hdfs://name/path"):
        open_source("models:/other/1")
    for reference in ("models:/other/2", "models:/other@champion", "models:/nothing/1"):
        with pytest.raises(BadReference, match=f"has no {reference}"):
            open_source(reference)
    for reference in ("models:/other", "models:/a/b/1", "models:/other@", "models:/other/latest"):
        with pytest.raises(BadReference, match="no version"):
            open_source(reference)


@pytest.mark.parametrize("uri", ["gs://bucket/prefix", "hdfs://name/path"])
def test_a_store_of_an_unknown_kind_is_refused(monkeypatch, uri):
    monkeypatch.setenv("RECYCLE_STORE", uri)
    with pytest.raises(BadParameter, match=uri.partition("//")[0]):
        open_store()


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///x", "s3://UPPER/x", "s3://b/../x", "s3://bucket/a%2e", "s3://bucket//x"]
)
def test_a_store_that_is_no_place_in_a_bucket_is_refused(monkeypatch, uri):
    monkeypatch.setenv("RECYCLE_STORE", uri)
    with pytest.raises(BadReference, match="address"):
        open_store()


def test_a_manifest_read_from_a_file_is_checked(tmp_path):
    manifest = verify(FolderSource(path=make_checkpoint(tmp_path / "model")))
    (tmp_path / "one.json").write_bytes(manifest.to_json().replace(b'"size":', b'"size":1'))
    with pytest.raises(BadCheckpoint, match="changed by hand"):
        Checkpoint.read(tmp_path / "one.json")
