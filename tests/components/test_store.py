import json
import multiprocessing
import os
import shutil
import signal
import time
import urllib.request

import pytest

from components import store as store_module
from components.checkpoint import MANIFEST, Checkpoint
from components.errors import BadCheckpoint, BadParameter, DigestMismatch, OutputConflict
from components.identify import verify
from components.reference import local_folder, open_source
from components.save_checkpoint.save import save_checkpoint
from components.store import open_store
from components.work import claimed
from fakehub import FakeHub
from tinymodels import make_checkpoint


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def save_in_process(reference, queue):
    queue.put(save_checkpoint(reference, open_store()).digest)


def test_a_saved_folder_is_the_same_files_under_their_digest(tmp_path):
    source = make_checkpoint(tmp_path / "model", shards=2)
    store = open_store()
    saved = save_checkpoint(str(source), store)
    folder = local_folder(saved)
    assert folder == store.folder(saved.digest)
    assert {name: content for name, content in files(folder).items() if name != MANIFEST} == files(source)
    assert verify(folder).digest == saved.digest
    assert saved.name == "model"
    assert not list((store.root / "staging").iterdir())


def test_the_same_content_under_another_name_is_free(tmp_path):
    store = open_store()
    first = save_checkpoint(str(make_checkpoint(tmp_path / "one")), store)
    before = {path: path.stat().st_mtime_ns for path in store.folder(first.digest).iterdir()}
    second = save_checkpoint(str(make_checkpoint(tmp_path / "two")), store)
    assert (first.digest, first.name, second.name) == (second.digest, "one", "two")
    assert {path: path.stat().st_mtime_ns for path in store.folder(first.digest).iterdir()} == before


def test_other_content_under_the_same_name_is_another_checkpoint(tmp_path):
    store = open_store()
    first = save_checkpoint(str(make_checkpoint(tmp_path / "one", seed=0)), store)
    second = save_checkpoint(str(make_checkpoint(tmp_path / "one", seed=1)), store)
    assert first.digest != second.digest
    assert store.find(first.digest)
    assert store.find(second.digest)


def test_two_that_save_the_same_at_once_end_with_one(tmp_path):
    source = make_checkpoint(tmp_path / "model", hidden=256)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=save_in_process, args=(str(source), queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    digests = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(digests) == 1
    assert [path.name for path in (open_store().root / "checkpoints").iterdir()] == list(digests)


def test_a_saver_killed_anywhere_leaves_nothing_visible_and_is_gone_on_from(tmp_path):
    source = make_checkpoint(tmp_path / "model", hidden=512, layers=6, shards=4)
    context = multiprocessing.get_context("fork")
    store = open_store()
    kills = 0
    for delay in (0.01, 0.03, 0.06, 0.1, 0.2):
        worker = context.Process(target=save_in_process, args=(str(source), context.Queue()))
        worker.start()
        time.sleep(delay)
        if worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
            kills += 1
        worker.join()
        for folder in (store.root / "checkpoints").glob("[0-9a-f]*"):
            verify(folder)
    assert kills
    saved = save_checkpoint(str(source), store)
    assert verify(local_folder(saved)).digest == saved.digest


def test_a_tokenizer_without_a_pad_token_gets_its_end_token(tmp_path):
    source = make_checkpoint(tmp_path / "model")
    config = json.loads((source / "tokenizer_config.json").read_text())
    config.pop("pad_token", None)
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    saved = save_checkpoint(str(source), open_store())
    kept = json.loads((local_folder(saved) / "tokenizer_config.json").read_text())
    assert kept["pad_token"] == config["eos_token"]
    assert save_checkpoint(str(source), open_store()).digest == saved.digest


def test_a_flipped_bit_is_found(tmp_path):
    folder = local_folder(save_checkpoint(str(make_checkpoint(tmp_path / "model")), open_store()))
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
        verify(folder)


def test_a_manifest_changed_by_hand_is_refused(tmp_path):
    folder = local_folder(save_checkpoint(str(make_checkpoint(tmp_path / "model")), open_store()))
    document = json.loads((folder / MANIFEST).read_text())
    document["files"][0]["size"] += 1
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BadCheckpoint, match="changed by hand"):
        Checkpoint.read(folder / MANIFEST)


def test_from_the_hub_verified_and_pinned(tmp_path, monkeypatch):
    source = make_checkpoint(tmp_path / "model", shards=2)
    (source / "pytorch_model.bin").write_bytes(b"a pickle")
    (source / "modeling.py").write_text("raise SystemExit")
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        commit = hub.add("org/name", source, branch="main")
        saved = save_checkpoint("org/name@main", open_store())
        names = set(files(local_folder(saved)))
        assert saved.origin["commit"] == commit
        assert saved.origin["revision"] == "main"
        assert not names & {"pytorch_model.bin", "modeling.py"}
        hub.seen.clear()
        assert save_checkpoint("org/name@main", open_store()).digest == saved.digest
        asked_again = [
            {key.lower(): value for key, value in seen.headers.items()}["range"] for seen in hub.seen if seen.storage
        ]
        assert all(int(span.rpartition("-")[2]) < 8_192 for span in asked_again), "more than headers came again"


def test_bytes_that_differ_from_the_hubs_record_are_refused(tmp_path, monkeypatch):
    source = make_checkpoint(tmp_path / "model")
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("org/name", source)
        with urllib.request.urlopen(f"{hub.url}/api/models/org/name/revision/main?blobs=true") as answer:
            hub.siblings = json.load(answer)["siblings"]
        weights = next(sibling for sibling in hub.siblings if sibling["rfilename"] == "model.safetensors")
        weights["lfs"]["sha256"] = "0" * 64
        with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
            save_checkpoint("org/name", open_store())
    assert not (open_store().root / "checkpoints").exists()


def test_a_claim_is_for_one(tmp_path):
    refused = pytest.raises(OutputConflict, match="another process")
    with claimed(tmp_path / "out", wait=False), refused, claimed(tmp_path / "out", wait=False):
        pass
    with claimed(tmp_path / "out", wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_an_unknown_kind_is_refused(monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", "gs://bucket/prefix")
    with pytest.raises(BadParameter, match="gs://bucket/prefix"):
        open_store()


def test_a_damaged_staged_file_is_copied_again(tmp_path, monkeypatch):
    source = make_checkpoint(tmp_path / "model", shards=2)
    real = store_module.FolderStore.publish
    monkeypatch.setattr(store_module.FolderStore, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(str(source), open_store())
    staged = next((open_store().root / "staging").rglob("model-00001*.safetensors"))
    content = bytearray(staged.read_bytes())
    content[-3] ^= 1
    staged.write_bytes(content)
    monkeypatch.setattr(store_module.FolderStore, "publish", real)
    saved = local_folder(save_checkpoint(str(source), open_store()))
    assert files(saved)["model-00001-of-00002.safetensors"] == files(source)["model-00001-of-00002.safetensors"]


def test_a_store_that_moved_is_found_where_it_is(tmp_path, monkeypatch):
    saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), open_store())
    moved = tmp_path / "moved"
    open_store().root.rename(moved)
    monkeypatch.setenv("RECYCLE_STORE", str(moved))
    assert local_folder(saved) == moved / "checkpoints" / saved.digest
    found = open_store().find(saved.digest)
    assert found.uri == (moved / "checkpoints" / saved.digest).as_uri()
    source = open_source(str(moved / "checkpoints" / saved.digest / MANIFEST))
    assert source.path == moved / "checkpoints" / saved.digest


def test_weights_changed_beside_a_manifest_are_not_taken_for_the_old(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(local_folder(save_checkpoint(str(make_checkpoint(tmp_path / "model")), open_store())), folder)
    make_checkpoint(tmp_path / "other", seed=5)
    shutil.copy(tmp_path / "other/model.safetensors", folder / "model.safetensors")
    with pytest.raises(DigestMismatch):
        save_checkpoint(str(folder), open_store())


def test_many_claims_of_one_place_in_a_tight_loop(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=claim_often, args=(tmp_path / "out",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {worker.exitcode for worker in workers} == {0}


def claim_often(place):
    for _ in range(300):
        with claimed(place, wait=True):
            (place.parent / "inside").touch(exist_ok=False)
            (place.parent / "inside").unlink()


def test_work_that_several_want_at_once_is_done_once_and_leaves_no_staging(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=want, args=(tmp_path / "made",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {worker.exitcode for worker in workers} == {0}
    assert (tmp_path / "made").read_text() == "once "
    assert not list((open_store().root / "staging").iterdir())


def want(log):
    store = open_store()

    def make(folder):
        (folder / "leftover").write_text("")
        with log.open("a") as file:
            file.write("once ")
        time.sleep(0.2)
        store.remember("kind", "key", "result")
        return "result"

    assert store.once("work", lambda: store.recall("kind", "key"), make) == "result"


def test_work_that_is_refused_leaves_no_staging():
    def refuse(folder):
        raise BadParameter("no", do="nothing")

    with pytest.raises(BadParameter):
        open_store().once("work", lambda: None, refuse)
    assert not list((open_store().root / "staging").iterdir())
