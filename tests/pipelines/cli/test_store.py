"""`recycle store` on a store in a folder and on one in a bucket: what is shown, what is damaged, what is garbage."""

import errno
import json
import os
import random
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from components import settings
from components.checkpoints.description import verify
from components.checkpoints.manifest import MANIFEST
from components.errors import BadCheckpoint, BadReference, OutputConflict, RecycleError
from components.references.save import save_checkpoint
from components.s3 import client as s3_client
from components.s3.bucket import Bucket
from components.s3.conditional import MARKER
from components.store import copying
from components.store.folder.garbage import folder_garbage
from components.store.locate import open_checkpoint
from components.store.s3 import removal as s3_removal
from components.store.s3.garbage import s3_garbage
from components.store.s3.manifest import MARK
from components.store.store import open_store
from components.system.locks import exclusive_lock
from components.transfer.scale import parse_scale
from components.transfer.transfer import transfer_in_store
from pipelines.cli.main import main

# ruff: noqa: F811 - fixtures are imported, and asked for by name
from tests.support.stores import (
    checkpoints_in,
    store,  # noqa: F401 - a fixture
)
from tests.support.tinymodels import make_checkpoint

OLD = timedelta(days=3)


@pytest.fixture
def bucket(bucket_store):
    return open_store()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "store"))
    return open_store()


@pytest.fixture
def family(store, tmp_path):
    """Three checkpoints and what was made of them."""
    roles = {"source base": "base", "source fine-tuned": "tuned", "target base": "target"}
    saved = {
        role: save_checkpoint(str(make_checkpoint(tmp_path / name, seed=seed)), store)
        for seed, (role, name) in enumerate(roles.items())
    }
    made, _ = transfer_in_store(saved, scale=parse_scale("1.0"), dtype="auto", store=store)
    return store, saved, made


def recycle(*arguments, code=0):
    result = CliRunner().invoke(main, ["store", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def document(*arguments, code=0):
    return json.loads(recycle(*arguments, "--json", code=code).stdout)


def garbage(*arguments):
    return document("gc", "--older-than", "0s", *arguments)["garbage"]


def save(store, place, **how):
    """Save a checkpoint that is made only once, so that it is the same work each time."""
    return save_checkpoint(str(place if place.exists() else make_checkpoint(place, **how)), store)


def unfinished(found):
    return [one for one in found if "/checkpoints/" in one.location]


def break_off(store, place, monkeypatch, *, after=None, **how):
    """A save that ends after so many files, or, without a number, when only the manifest is missing."""
    copy_file, left = copying.copy_file, [after]

    def limited(*arguments):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return copy_file(*arguments)

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if after is None:
            patched.setattr(type(store), "publish", stopped)
        else:
            patched.setattr(copying, "copy_file", limited)
        with pytest.raises(KeyboardInterrupt):
            save(store, place, **how)


def age(root):
    """Make every file of a folder three days old."""
    then = time.time() - OLD.total_seconds()
    for path in (root, *root.rglob("*")):
        os.utime(path, (then, then))


def damage(store, checkpoint):
    """Flip a bit of the weights."""
    name = "model.safetensors"
    content = bytearray(store.source(checkpoint).read(name))
    content[-5] ^= 1
    if checkpoint.uri.startswith("s3://"):
        Bucket.at(checkpoint.uri).put(name, bytes(content))
    else:
        (store.folder(checkpoint.digest) / name).write_bytes(content)


def removal_killed_after(number, found, monkeypatch):
    """Remove something from a bucket, and stop after so many deletions as if killed."""
    delete, left = Bucket.delete, [number]

    def limited(place, key, **how):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        delete(place, key, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", limited)
        with pytest.raises(KeyboardInterrupt):
            found.remove()


def forget_index(store, checkpoint):
    """What is left when somebody removes what names a checkpoint, or gives it another name."""
    if not checkpoint.uri.startswith("s3://"):
        store.folder(checkpoint.digest).rename(store.folder("0" * 64))
    else:
        store.root.delete(f"digests/{checkpoint.digest}")


def double(store, checkpoint):
    """Have a second place with the same files and manifest, as two who save the same can leave it."""
    if not checkpoint.uri.startswith("s3://"):
        shutil.copytree(store.folder(checkpoint.digest), store.folder("0" * 64))
        return store.folder("0" * 64).as_uri()
    place, second = Bucket.at(checkpoint.uri), store.root.under(f"checkpoints/save-{'0' * 64}")
    for entry in place.objects():
        second.copy(place, entry.key, entry.key)
    return second.uri


def failing_removal(store, place, monkeypatch):
    """Have the disk, or the server, refuse to remove what lies in a place."""
    if place.startswith("s3://"):
        delete = Bucket.delete

        def refused(bucket, key, **how):
            if f"{bucket.uri}/" == place and key != MANIFEST:
                raise BadReference("not permitted", hint="ask")
            delete(bucket, key, **how)

        monkeypatch.setattr(Bucket, "delete", refused)
        return
    rmtree = shutil.rmtree

    def refused_by_disk(folder):
        if str(folder) == place:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM).lower(), str(folder / "config.json"))
        rmtree(folder)

    monkeypatch.setattr(shutil, "rmtree", refused_by_disk)


def refuse(closed, monkeypatch):
    """Let a path be one that may not be looked at."""
    stat, scandir, listdir = Path.stat, os.scandir, os.listdir

    def refused(real):
        def look(path, *arguments, **named):
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments, **named)

        return look

    monkeypatch.setattr(Path, "stat", refused(stat))
    monkeypatch.setattr(os, "scandir", refused(scandir))
    monkeypatch.setattr(os, "listdir", refused(listdir))


def replace_manifest(store, checkpoint, content):
    if checkpoint.uri.startswith("s3://"):
        Bucket.at(checkpoint.uri).put(MANIFEST, content)
    else:
        (store.folder(checkpoint.digest) / MANIFEST).write_bytes(content)


def assert_sound(store, digests):
    assert {checkpoint.digest for checkpoint in checkpoints_in(store)} == set(digests)
    for digest in digests:
        assert verify(store.source(store.find(digest))).digest == digest


class TestLs:
    def test_an_empty_store_has_no_checkpoints(self, store):
        assert "0 checkpoints, 0 B" in recycle("ls").stdout
        assert document("ls") == {"store": store.uri, "bytes": 0, "checkpoints": [], "damaged": {}}

    def test_every_checkpoint_has_a_line_that_says_who_was_made_from_whom(self, family):
        store, saved, made = family
        lines = recycle("ls").stdout.splitlines()
        assert lines[0].split()[:4] == ["name", "digest", "size", "dtype"]
        line = {line.split()[0]: line for line in lines[1:-1]}
        assert set(line) == {"base", "tuned", "target", "target-recycled"}
        for parent in saved.values():
            assert parent.digest[:12] in line["target-recycled"]
            assert made.digest[:12] in line[parent.name]
        assert f"{made.parameters:,}" in line["target-recycled"]
        assert "BF16" in line["base"]
        assert f"folder:{saved['source base'].origin['path']}" in line["base"]
        assert lines[-1].startswith("4 checkpoints, ")
        assert store.uri in lines[-1]

    def test_the_same_for_machines(self, family):
        store, saved, made = family
        listed = document("ls")
        by_digest = {entry["digest"]: entry for entry in listed["checkpoints"]}
        assert by_digest[made.digest]["parents"] == {role: parent.digest for role, parent in saved.items()}
        assert by_digest[saved["target base"].digest]["children"] == [made.digest]
        assert by_digest[made.digest]["bytes"] == sum(file.size for file in made.files)
        assert listed["bytes"] == sum(entry["bytes"] for entry in listed["checkpoints"])
        assert listed["store"] == store.uri

    def test_one_damaged_manifest_does_not_hide_the_others(self, store, tmp_path):
        one, two = (save(store, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
        replace_manifest(store, one, b"{}")
        listed = document("ls", code=1)
        assert [entry["digest"] for entry in listed["checkpoints"]] == [two.digest]
        assert list(listed["damaged"]) == [one.digest]
        assert "What to do:" in recycle("ls", code=1).stderr

    def test_a_store_that_may_not_be_read_is_told_and_not_shown_as_empty(self, folder, tmp_path, monkeypatch):
        save(folder, tmp_path / "one")
        refuse(folder.root / "checkpoints", monkeypatch)
        assert "cannot be read (Permission denied)" in recycle("ls", code=1).stderr

    def test_a_name_cannot_command_a_terminal(self, store, tmp_path):
        saved = save(store, tmp_path / "model")
        replace_manifest(store, saved, saved.model_copy(update={"name": "a\x1b[2Jb\nc"}).to_json())
        assert "\x1b" not in recycle("ls").stdout
        assert len(recycle("ls").stdout.splitlines()) == 3
        assert "\x1b" not in recycle("show", saved.digest).stdout


class TestShow:
    @pytest.mark.parametrize("characters", [4, 64])
    def test_the_beginning_of_a_digest_is_enough(self, family, characters):
        store, saved, made = family
        shown = recycle("show", made.digest[:characters].upper()).stdout
        assert made.digest in shown
        for role, parent in saved.items():
            assert f"{parent.name} ({parent.digest[:12]})" in next(
                line for line in shown.splitlines() if line.startswith(f"made from {role}")
            )
        for file in made.files:
            assert file.sha256 in next(line for line in shown.splitlines() if line.startswith(file.path))
        assert store.find(made.digest).uri in shown
        shown = recycle("show", saved["source base"].digest).stdout
        assert f"target-recycled ({made.digest[:12]})" in next(
            line for line in shown.splitlines() if line.startswith("used by")
        )

    def test_the_same_for_machines(self, family):
        _, saved, made = family
        shown = document("show", made.digest)
        assert shown["manifest"]["digest"] == made.digest
        assert shown["parents"] == {role: parent.digest for role, parent in saved.items()}
        assert shown["children"] == []

    def test_a_parent_that_is_not_in_the_store_is_said_to_be_elsewhere(self, family, monkeypatch, tmp_path):
        store, saved, made = family
        monkeypatch.setenv("RECYCLE_STORE", str(tmp_path / "other"))
        if not store.uri.startswith("s3://"):
            made = store.find(made.digest)
        save_checkpoint(made.uri, open_store())
        shown = recycle("show", made.digest).stdout
        assert f"{saved['target base'].digest[:12]}, not in this store" in shown

    @pytest.mark.parametrize("start", ["", "zz", "../..", "0" * 64])
    def test_what_begins_no_digest_is_refused(self, store, tmp_path, start):
        save(store, tmp_path / "model")
        told = recycle("show", start, code=1).stderr
        assert "What to do:" in told
        assert document("show", start, code=1)["error"] == "BadReference"

    def test_what_begins_several_is_refused_with_some_of_them(self, store, tmp_path):
        digests = []
        while len({digest[0] for digest in digests}) == len(digests):
            digests.append(save(store, tmp_path / str(len(digests)), seed=len(digests)).digest)
        start = digests[-1][0]
        told = recycle("show", start, code=1).stderr
        assert "give more characters of the digest" in told
        assert sum(digest[:12] in told for digest in digests) >= 2

    def test_a_damaged_manifest_is_told(self, store, tmp_path):
        saved = save(store, tmp_path / "model")
        replace_manifest(store, saved, b"{}")
        assert document("show", saved.digest, code=1)["error"] == "BadCheckpoint"


class TestVerify:
    def test_sound_ones_are_said_to_be(self, family):
        _, saved, made = family
        assert "4 checkpoints read, 0 damaged" in recycle("verify", "--all").stdout
        assert document("verify", made.digest[:12]) == {
            "store": family[0].uri,
            "verified": True,
            "checkpoints": [{"digest": made.digest, "name": "target-recycled", "problem": None}],
        }
        assert "2 checkpoints read" in recycle("verify", made.digest, saved["source base"].digest).stdout

    def test_a_flipped_bit_is_found_among_sound_ones(self, store, tmp_path):
        one, two = (save(store, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
        damage(store, one)
        told = recycle("verify", "--all", code=1).stdout
        assert "model.safetensors has the sha256" in next(line for line in told.splitlines() if "DAMAGED" in line)
        assert "2 checkpoints read, 1 damaged" in told
        found = document("verify", "--all", code=1)
        assert found["verified"] is False
        assert {entry["digest"] for entry in found["checkpoints"] if entry["problem"]} == {one.digest}
        recycle("verify", two.digest)

    def test_a_missing_file_and_a_damaged_manifest_are_found(self, store, tmp_path):
        one, two = (save(store, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
        if one.uri.startswith("s3://"):
            Bucket.at(one.uri).delete("config.json")
        else:
            (store.folder(one.digest) / "config.json").unlink()
        replace_manifest(store, two, b"{}")
        found = document("verify", "--all", code=1)
        assert all(entry["problem"] for entry in found["checkpoints"])
        assert {entry["digest"] for entry in found["checkpoints"]} == {one.digest, two.digest}

    def test_a_file_that_a_failing_disk_does_not_give_is_found_among_sound_ones(self, folder, tmp_path, monkeypatch):
        one, two = (save(folder, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
        bad, preadv = (folder.folder(one.digest) / "model.safetensors").stat().st_ino, os.preadv

        def failing(descriptor, *arguments):
            if os.fstat(descriptor).st_ino == bad:
                raise OSError(errno.EIO, "Input/output error")
            return preadv(descriptor, *arguments)

        monkeypatch.setattr(os, "preadv", failing)
        found = {entry["digest"]: entry["problem"] for entry in document("verify", "--all", code=1)["checkpoints"]}
        assert "model.safetensors cannot be read (Input/output error)" in found[one.digest]
        assert found[two.digest] is None

    def test_what_may_not_be_read_is_found_among_sound_ones(self, folder, tmp_path, monkeypatch):
        one, two = (save(folder, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
        refuse(folder.folder(one.digest) / MANIFEST, monkeypatch)
        found = {entry["digest"]: entry["problem"] for entry in document("verify", "--all", code=1)["checkpoints"]}
        assert "cannot be read (Permission denied)" in found[one.digest]
        assert found[two.digest] is None
        with pytest.raises(BadReference, match="Permission denied"):
            folder.find(one.digest)

    @pytest.mark.parametrize("arguments", [(), ("--all", "abc")])
    def test_what_to_verify_has_to_be_said(self, store, arguments):
        assert "What to do:" in recycle("verify", *arguments, code=2).stderr


class TestGarbage:
    def test_a_store_where_nothing_was_broken_off_has_none(self, family):
        assert garbage() == []
        assert "nothing that can be removed" in recycle("gc", "--delete", "--older-than", "0s").stdout

    @pytest.mark.parametrize("after", [0, 1, 3, None])
    def test_what_was_broken_off_is_told_first_and_removed_when_asked(self, store, tmp_path, monkeypatch, after):
        kept = save(store, tmp_path / "kept", seed=1)
        break_off(store, tmp_path / "broken", monkeypatch, after=after, seed=2)
        told = garbage()
        assert [entry["removed"] for entry in told] == [None] * len(told)
        if after != 0:
            assert sum(entry["bytes"] for entry in told) > 0
        assert garbage() == told
        assert all(entry["removed"] for entry in garbage("--delete"))
        assert garbage() == []
        assert_sound(store, [kept.digest])
        again = save(store, tmp_path / "broken", seed=2)
        assert_sound(store, [kept.digest, again.digest])

    def test_what_is_young_may_be_in_use_and_is_left(self, store, tmp_path, monkeypatch):
        break_off(store, tmp_path / "broken", monkeypatch)
        assert document("gc", "--delete")["garbage"] == []
        assert garbage()

    def test_people_are_told_sizes_reasons_and_what_to_type(self, store, tmp_path, monkeypatch):
        break_off(store, tmp_path / "broken", monkeypatch)
        told = recycle("gc", "--older-than", "0s").stdout
        assert "removable" in told
        assert "broken off" in told
        assert "kB" in told
        assert "add --delete" in told
        assert "would be" not in recycle("gc", "--older-than", "0s", "--delete").stdout

    def test_an_entry_that_points_to_what_is_gone(self, store, tmp_path):
        kept, lost = (save(store, tmp_path / name, seed=seed, hidden=256) for seed, name in enumerate("ab"))
        gone = "0" * 64
        store.put("saved", "k" * 64, gone)
        store.put("files", "f" * 64, f"checkpoints/{gone}/model.safetensors")
        store.put("evaluation", "e" * 64, '{"scores": []}')
        store.put("saved", "l" * 64, kept.digest)
        if lost.uri.startswith("s3://"):
            place = Bucket.at(lost.uri)
            for entry in place.objects():
                place.delete(entry.key)
        else:
            for path in store.folder(lost.digest).iterdir():
                path.unlink()
            store.folder(lost.digest).rmdir()
        removed = garbage("--delete")
        assert {entry["reason"] for entry in removed} == {"points to what is gone"}
        assert store.get("saved", "k" * 64) is None
        assert store.get("files", "f" * 64) is None
        assert store.get("evaluation", "e" * 64)
        assert store.get("saved", "l" * 64) == kept.digest
        weights = max(kept.files, key=lambda file: file.size)
        assert weights.size > 1 << 20
        assert store.get("files", weights.sha256)
        assert store.digests() == [kept.digest]
        assert_sound(store, [kept.digest])

    def test_a_damaged_checkpoint_is_not_garbage(self, store, tmp_path):
        saved = save(store, tmp_path / "model")
        replace_manifest(store, saved, b"{}")
        assert garbage("--delete") == []
        with pytest.raises(BadCheckpoint):
            store.manifest(saved.digest)

    def test_a_checkpoint_that_the_store_has_twice_is_told_and_removed_once(self, store, tmp_path):
        saved = save(store, tmp_path / "model")
        double(store, saved)
        assert document("gc", "--delete")["garbage"] == [], "it is young"
        (told,) = garbage()
        assert "digest" in told["reason"]
        assert told["bytes"] > sum(file.size for file in saved.files) - 1
        assert [entry["removed"] for entry in garbage("--delete")] == [True]
        assert garbage() == []
        assert_sound(store, [saved.digest])
        assert store.find(saved.digest) == saved

    def test_the_only_one_of_its_content_is_kept_whatever_its_name(self, store, tmp_path):
        saved = save(store, tmp_path / "model")
        forget_index(store, saved)
        assert not [entry for entry in garbage("--delete") if "/checkpoints/" in entry["location"]]
        assert garbage() == []
        if not saved.uri.startswith("s3://"):
            store.folder("0" * 64).rename(store.folder(saved.digest))
        assert_sound(store, [saved.digest])

    def test_what_cannot_be_removed_does_not_keep_the_rest(self, store, tmp_path, monkeypatch):
        for seed in range(3):
            break_off(store, tmp_path / str(seed), monkeypatch, seed=seed)
        told = garbage()
        stubborn = next(entry["location"] for entry in told if "saved-" in entry["location"])
        failing_removal(store, stubborn, monkeypatch)
        found = document("gc", "--older-than", "0s", "--delete", code=1)["garbage"]
        (failed,) = (entry for entry in found if entry["problem"])
        assert failed["location"] == stubborn
        assert failed["removed"] is False
        assert "not permitted" in failed["problem"]
        assert len(found) == len(told)
        assert all(entry["removed"] for entry in found if entry is not failed)
        text = recycle("gc", "--older-than", "0s", "--delete", code=1).stdout
        assert "FAILED" in text
        assert "not permitted" in text
        monkeypatch.undo()

    def test_what_others_keep_beside_is_not_ours(self, store, tmp_path):
        if store.uri.startswith("s3://"):
            others = dict.fromkeys(("notes.txt", "checkpoints/theirs/model.pt", "digests/x", "results/y"), b"theirs")
            for key, content in others.items():
                store.root.put(key, content)
            assert garbage("--delete") == []
            assert {entry.key for entry in store.root.objects()} == set(others)
        else:
            theirs = store.root / "checkpoints" / "theirs" / "model.pt"
            theirs.parent.mkdir(parents=True)
            theirs.write_bytes(b"theirs")
            assert garbage("--delete") == []
            assert theirs.exists()

    @pytest.mark.parametrize("older", ["", "1", "-1h", "1w", "1e3s", "٣h"])
    def test_an_age_that_is_none_is_refused(self, store, older):
        assert "What to do:" in recycle("gc", "--older-than", older, code=2).stderr

    def test_whatever_happened_before_published_checkpoints_stay_sound(self, store, tmp_path, monkeypatch):
        chance = random.Random(5)
        published = set()
        for step in range(12):
            seed = chance.randrange(5)
            match chance.choice(["save", "save", "break", "break", "complete", "gc"]):
                case "save":
                    published.add(save(store, tmp_path / f"{seed}-{step}", seed=seed).digest)
                case "break":
                    digests = set(store.digests())
                    break_off(store, tmp_path / f"{seed}-{step}", monkeypatch, after=chance.randrange(5), seed=seed)
                    assert set(store.digests()) == digests
                case "complete":
                    break_off(store, tmp_path / f"{seed}-{step}", monkeypatch, seed=seed)
                case "gc":
                    assert all(entry["removed"] for entry in garbage("--delete"))
                    assert garbage() == []
        garbage("--delete")
        assert garbage() == []
        assert_sound(store, published)

    def test_a_save_that_goes_on_meanwhile_is_published_whole_or_not_at_all(self, store, tmp_path):
        """Garbage of no age at all takes drafts from under the hands of who writes them."""
        places = [make_checkpoint(tmp_path / str(seed), seed=seed, shards=2) for seed in range(3)]
        published, refused, ended = set(), [], threading.Event()

        def saver(place):
            try:
                published.add(save_checkpoint(str(place), store).digest)
            except RecycleError as error:
                refused.append(error)

        def collector():
            while not ended.is_set():
                for found in store.garbage(datetime.now(UTC)):
                    found.remove()

        collecting = threading.Thread(target=collector)
        collecting.start()
        savers = [threading.Thread(target=saver, args=(place,)) for place in places]
        for thread in savers:
            thread.start()
        for thread in savers:
            thread.join()
        ended.set()
        collecting.join()
        assert len(published) + len(refused) == len(places)
        visible = {checkpoint.digest for checkpoint in checkpoints_in(store)}
        assert visible >= published
        assert_sound(store, visible)
        again = {save_checkpoint(str(place), store).digest for place in places}
        assert again >= published
        assert_sound(store, again)


class TestFolderGarbage:
    def test_work_that_a_process_holds_is_left_whatever_its_age(self, folder, tmp_path, monkeypatch):
        break_off(folder, tmp_path / "broken", monkeypatch)
        age(folder.root)
        (work,) = (path for path in (folder.root / "staging").iterdir() if path.is_dir())
        with exclusive_lock(work, wait=False):
            assert all("results" in entry["location"] for entry in document("gc", "--delete")["garbage"])
            assert work.is_dir()
        (found,) = document("gc", "--delete")["garbage"]
        assert (found["location"], found["removed"]) == (str(work), True)
        assert not work.exists()

    def test_work_that_was_taken_up_after_it_was_told_is_left(self, folder, tmp_path, monkeypatch):
        break_off(folder, tmp_path / "broken", monkeypatch)
        age(folder.root)
        now = datetime.now(UTC)
        work = next(found for found in folder.garbage(now - timedelta(days=1)) if found.size)
        (Path(work.location) / "new").write_bytes(b"")
        assert not work.remove()
        assert Path(work.location).is_dir()

    def test_the_claim_of_a_killed_process_and_half_written_files(self, folder, tmp_path):
        saved = save(folder, tmp_path / "model")
        own = folder.folder(saved.digest)
        for path in (
            folder.root / "staging" / f".save-{'0' * 64}.lock",
            folder.root / "checkpoints" / f".{saved.digest}.lock",
            own / ".model.safetensors.part",
            own / ".config.json.finished",
            folder.root / "results" / "saved" / ".key.part",
        ):
            path.write_bytes(b"")
        mine = own / "my-notes.txt"
        mine.write_text("of the user")
        age(folder.root)
        assert len(document("gc")["garbage"]) == 5
        assert [entry["removed"] for entry in document("gc", "--delete")["garbage"]] == [True] * 5
        assert mine.exists()
        assert not list(folder.root.rglob(".*"))
        assert_sound(folder, [saved.digest])

    def test_a_folder_without_a_manifest_goes_and_what_it_shares_with_others_stays(self, folder, tmp_path):
        saved = save(folder, tmp_path / "model")
        half = folder.folder("0" * 64)
        half.mkdir()
        os.link(folder.folder(saved.digest) / "model.safetensors", half / "model.safetensors")
        age(folder.root)
        (found,) = document("gc", "--delete")["garbage"]
        assert (found["bytes"], found["removed"]) == (0, True)
        assert_sound(folder, [saved.digest])

    def test_what_may_not_be_read_is_passed_over(self, folder, tmp_path, monkeypatch, caplog):
        break_off(folder, tmp_path / "one", monkeypatch, seed=1)
        break_off(folder, tmp_path / "two", monkeypatch, seed=2)
        closed, other = sorted(path for path in (folder.root / "staging").iterdir() if path.is_dir())
        lstat = Path.lstat

        def refused(path):
            if path.parent == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return lstat(path)

        monkeypatch.setattr(Path, "lstat", refused)
        places = {entry["location"] for entry in garbage()}
        assert str(other) in places
        assert str(closed) not in places
        assert f"{closed} is passed over" in caplog.text

    def test_a_remembered_document_of_garbage_bytes_is_left(self, folder):
        folder.put("evaluation", "k" * 64, "")
        (folder.root / "results" / "evaluation" / ("k" * 64)).write_bytes(b"\xff\xfe")
        assert garbage("--delete") == []

    def test_a_link_is_not_followed(self, folder, tmp_path):
        make_checkpoint(tmp_path / "elsewhere")
        place = folder.root / "staging" / f"save-{'0' * 64}"
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path / "elsewhere")
        assert list(folder_garbage(folder.root, folder.find, datetime.now(UTC))) == []


class TestBucketGarbage:
    def test_a_broken_upload_is_removed_with_its_parts(self, bucket, tmp_path, monkeypatch):
        upload_part, sent = Bucket.upload_part, []

        def limited(*arguments):
            if sent:
                raise KeyboardInterrupt
            sent.append(len(arguments[-1]))
            return upload_part(*arguments)

        place = make_checkpoint(tmp_path / "model", hidden=512, layers=4)
        with monkeypatch.context() as patched:
            patched.setattr(copying, "BLOCK", 5 << 20)
            patched.setattr(Bucket, "upload_part", limited)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(str(place), bucket)
        (found,) = garbage()
        assert "1 uploads" in found["reason"]
        assert found["bytes"] >= sent[0] > 1 << 20
        assert [entry["removed"] for entry in garbage("--delete")] == [True]
        assert bucket.root.incomplete() == ()
        assert [entry.key for entry in bucket.root.objects()] == [MARKER]

    def test_an_upload_that_still_grows_keeps_its_draft(self, bucket):
        place = bucket.root.under(f"checkpoints/save-{'0' * 64}")
        place.put(".draft/model.safetensors.upload", b"")
        upload = place.start_upload("model.safetensors")
        before = datetime.now(UTC)
        time.sleep(0.01)
        place.upload_part("model.safetensors", upload, 1, b"part")
        assert s3_garbage(bucket.root, bucket.find, before) == []
        assert len(s3_garbage(bucket.root, bucket.find, datetime.now(UTC))) == 1

    def test_what_is_left_beside_a_published_checkpoint(self, bucket, tmp_path):
        saved = save(bucket, tmp_path / "model")
        place = Bucket.at(saved.uri)
        place.put(".draft/model.safetensors.upload", b"")
        upload = place.start_upload("model.safetensors")
        place.upload_part("model.safetensors", upload, 1, b"part")
        assert {entry["bytes"] for entry in garbage()} == {0, 4}
        assert [entry["removed"] for entry in garbage("--delete")] == [True, True]
        assert place.incomplete("model.safetensors") == ()
        assert_sound(bucket, [saved.digest])

    def test_an_upload_without_a_note_is_found_where_the_server_lists_it(self, bucket):
        place = bucket.root.under(f"checkpoints/save-{'1' * 64}")
        upload = place.start_upload("model.safetensors")
        place.upload_part("model.safetensors", upload, 1, b"part")
        assert [entry["removed"] for entry in garbage("--delete")] == [True]
        assert place.incomplete("model.safetensors") == ()

    def test_a_draft_that_was_published_after_it_was_told_is_left(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch)
        told = bucket.garbage(datetime.now(UTC))
        assert len(unfinished(told)) == 1
        saved = save(bucket, tmp_path / "model")
        assert not any(found.remove() for found in told)
        assert_sound(bucket, [saved.digest])

    def test_a_draft_that_was_gone_on_with_after_it_was_told_is_left(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch, after=2)
        (found,) = bucket.garbage(datetime.now(UTC))
        time.sleep(0.01)
        place = Bucket.at(found.location.rstrip("/"))
        place.put("tokenizer.json", b"more")
        assert not found.remove()
        assert place.head(MANIFEST) is None
        assert place.get("tokenizer.json") == b"more"

    def test_a_draft_that_is_being_removed_cannot_be_published(self, bucket, tmp_path, monkeypatch):
        def publish(store, checkpoint):
            Bucket.at(checkpoint.uri).put(MANIFEST, MARK + b"}")
            return original(store, checkpoint)

        original = type(bucket).publish
        with monkeypatch.context() as patched:
            patched.setattr(type(bucket), "publish", lambda *arguments: publish(*arguments))
            with pytest.raises(OutputConflict, match="taken for garbage") as failure:
                save(bucket, tmp_path / "model")
        assert "run the same command again" in failure.value.hint
        assert checkpoints_in(bucket) == []
        (found,) = unfinished(bucket.garbage(datetime.now(UTC)))
        assert not found.remove(), "another that is at it is left alone"

    def test_work_whose_draft_is_being_removed_goes_on_in_another_place(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch)
        (found,) = unfinished(bucket.garbage(datetime.now(UTC)))
        removal_killed_after(1, found, monkeypatch)
        saved = save(bucket, tmp_path / "model")
        assert saved.uri != found.location.rstrip("/")
        assert_sound(bucket, [saved.digest])
        time.sleep(1.1)  # the server tells an object's time in whole seconds
        assert {entry["removed"] for entry in garbage("--delete")} == {True}
        assert garbage() == []
        assert_sound(bucket, [saved.digest])

    def test_a_removal_that_ends_meanwhile_takes_nothing_of_who_goes_on(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch)
        (found,) = unfinished(bucket.garbage(datetime.now(UTC)))
        delete, saved = Bucket.delete, []

        def meanwhile(place, key, **how):
            if not saved:
                saved.append(None)
                saved.append(save(bucket, tmp_path / "model"))
            delete(place, key, **how)

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "delete", meanwhile)
            assert found.remove()
        assert_sound(bucket, [saved[1].digest])
        assert garbage() == []

    def test_a_draft_whose_files_went_meanwhile_is_not_published(self, bucket, tmp_path, monkeypatch):
        def publish(store, checkpoint):
            Bucket.delete(Bucket.at(checkpoint.uri), "config.json")
            return original(store, checkpoint)

        original = type(bucket).publish
        with monkeypatch.context() as patched:
            patched.setattr(type(bucket), "publish", publish)
            with pytest.raises(BadCheckpoint, match=r"config\.json"):
                save(bucket, tmp_path / "model")
        assert checkpoints_in(bucket) == []
        assert_sound(bucket, [save(bucket, tmp_path / "model").digest])

    def test_an_index_that_is_dead_and_written_at_that_moment_stays(self, bucket, tmp_path, monkeypatch):
        """Whoever publishes writes it after `gc` looked and before `gc` removes it."""
        saved = save(bucket, tmp_path / "model")
        for entry in Bucket.at(saved.uri).objects():
            Bucket.at(saved.uri).delete(entry.key)
        (dead,) = (one for one in bucket.garbage(datetime.now(UTC)) if "/digests/" in one.location)
        delete = Bucket.delete

        def meanwhile(place, key, **how):
            if key.startswith("digests/") and not again:
                again.append(save(bucket, tmp_path / "model"))
            delete(place, key, **how)

        again = []
        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "delete", meanwhile)
            assert not dead.remove()
        assert again[0].digest == saved.digest
        assert_sound(bucket, [saved.digest])
        garbage("--delete")
        assert garbage() == []
        assert_sound(bucket, [saved.digest])

    def test_what_a_damaged_manifest_leaves_once_it_was_saved_from_elsewhere(self, bucket, tmp_path):
        first = save(bucket, tmp_path / "model")
        replace_manifest(bucket, first, b"{}")
        again = save(bucket, shutil.copytree(tmp_path / "model", tmp_path / "copy"))
        assert (again.digest, again.uri != first.uri) == (first.digest, True)
        (found,) = garbage("--delete")
        assert (found["location"], found["removed"]) == (f"{first.uri}/", True)
        assert_sound(bucket, [again.digest])

    def test_publishing_does_not_write_over_a_mark_that_comes_at_that_moment(self, bucket, tmp_path, monkeypatch):
        saved = save(bucket, tmp_path / "model")
        place = Bucket.at(saved.uri)
        bucket.root.delete(f"digests/{saved.digest}")
        place.put(MANIFEST, saved.model_copy(update={"name": "earlier"}).to_json())
        mark, read, marked_once = MARK + b"}", Bucket.get, []

        def marked(bucket_, key, *etag):
            content = read(bucket_, key, *etag)
            if key == MANIFEST and not marked_once:
                marked_once.append(place.put(MANIFEST, mark))
            return content

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "get", marked)
            with pytest.raises(OutputConflict, match="taken for garbage"):
                bucket.publish(saved)
        assert place.get(MANIFEST) == mark

    def test_publishing_what_is_published_writes_its_manifest_no_second_time(self, bucket, tmp_path, monkeypatch):
        saved = save(bucket, tmp_path / "model")
        put, written = Bucket.put, []
        with monkeypatch.context() as patched:
            patched.setattr(
                Bucket, "put", lambda place, key, *a, **how: written.append((key, how)) or put(place, key, *a, **how)
            )
            assert bucket.publish(saved) == saved
        assert [how for key, how in written if key == MANIFEST] == [{"new": True}]

    def test_a_mark_that_was_left_is_taken_over_by_one(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch)
        (found,) = unfinished(bucket.garbage(datetime.now(UTC)))
        removal_killed_after(0, found, monkeypatch)
        time.sleep(1.1)  # the server tells an object's time in whole seconds
        before = datetime.now(UTC)
        (first,), (second,) = unfinished(bucket.garbage(before)), unfinished(bucket.garbage(before))
        look, saved = s3_removal.read_contents, []

        def meanwhile(*arguments):
            state = look(*arguments)
            if not saved:
                saved.append(None)
                assert not second.remove(), "the first is at it"
                saved.append(save(bucket, tmp_path / "model"))
            return state

        with monkeypatch.context() as patched:
            patched.setattr(s3_removal, "read_contents", meanwhile)
            assert first.remove()
        assert_sound(bucket, [saved[1].digest])

    def test_a_removal_that_is_tried_again_takes_nothing_that_came_meanwhile(self, bucket, tmp_path, monkeypatch):
        break_off(bucket, tmp_path / "model", monkeypatch)
        (found,) = unfinished(bucket.garbage(datetime.now(UTC)))
        execute, saved = type(s3_client.client())._execute, []

        def answer_lost(client, method, name, key=None, **how):
            answer = execute(client, method, name, key, **how)
            if method == "DELETE" and str(key).endswith(MANIFEST) and not saved:
                saved.append(None)
                saved.append(save(bucket, tmp_path / "model"))
                raise ConnectionResetError("after the server did it")
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(type(s3_client.client()), "_execute", answer_lost)
            found.remove()
        assert saved[1].uri == found.location.rstrip("/")
        assert_sound(bucket, [saved[1].digest])

    @pytest.mark.parametrize("index", [b"garbage", b"\xff\xfe", b"save-" + b"0" * 64, b"", None])
    def test_a_lost_index_is_written_again_and_nothing_of_its_checkpoint_is_removed(self, bucket, tmp_path, index):
        saved = save(bucket, tmp_path / "model")
        bucket.put("saved", "s" * 64, saved.digest)
        kept = bucket.root.objects()
        if index is None:
            bucket.root.delete(f"digests/{saved.digest}")
        else:
            bucket.root.put(f"digests/{saved.digest}", index)
        (told,) = garbage()
        assert told["location"] == f"{bucket.uri}/digests/{saved.digest}"
        assert "written again" in told["reason"]
        assert [entry["removed"] for entry in garbage("--delete")] == [True]
        assert [(entry.key, entry.etag) for entry in bucket.root.objects()] == [(one.key, one.etag) for one in kept]
        assert garbage() == []
        assert_sound(bucket, [saved.digest])

    def test_the_second_place_is_kept_where_the_first_lost_a_file(self, bucket, tmp_path):
        saved = save(bucket, tmp_path / "model")
        second = double(bucket, saved)
        Bucket.at(saved.uri).delete("config.json")
        (told,) = garbage("--delete")
        assert "written again" in told["reason"]
        assert bucket.find(saved.digest).uri == second
        garbage("--delete")
        assert garbage() == []
        assert_sound(bucket, [saved.digest])

    def test_the_second_place_is_kept_where_the_first_goes_at_that_moment(self, bucket, tmp_path, monkeypatch):
        saved = save(bucket, tmp_path / "model")
        second = double(bucket, saved)
        (told,) = unfinished(bucket.garbage(datetime.now(UTC)))
        delete = Bucket.delete

        def meanwhile(place, key, **how):
            delete(place, key, **how)
            if key == MANIFEST and place.uri == second:
                delete(Bucket.at(saved.uri), MANIFEST)

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "delete", meanwhile)
            assert not told.remove()
        garbage("--delete")
        assert_sound(bucket, [saved.digest])

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_checkpoint_that_is_named_at_the_moment_of_its_removal_stays(self, bucket, tmp_path, monkeypatch, moment):
        saved = save(bucket, tmp_path / "model")
        name = double(bucket, saved).rsplit("/", 1)[-1]
        (unnamed,) = unfinished(bucket.garbage(datetime.now(UTC)))
        delete = Bucket.delete

        def meanwhile(place, key, **how):
            if key == MANIFEST and moment == "before":
                bucket.root.put(f"digests/{saved.digest}", name.encode())
            delete(place, key, **how)
            if key == MANIFEST and moment == "after":
                bucket.root.put(f"digests/{saved.digest}", name.encode())

        monkeypatch.setattr(Bucket, "delete", meanwhile)
        assert not unnamed.remove()
        assert_sound(bucket, [saved.digest])

    def test_a_checkpoint_whose_manifest_is_taken_while_it_is_published_is_not_said_to_be(
        self, bucket, tmp_path, monkeypatch
    ):
        place = make_checkpoint(tmp_path / "model")
        put = Bucket.put

        def taken(bucket_, key, content, **how):
            put(bucket_, key, content, **how)
            if key.startswith("digests/"):
                (found,) = (entry for entry in bucket_.objects("checkpoints/") if entry.key.endswith(MANIFEST))
                bucket_.delete(found.key)

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "put", taken)
            with pytest.raises(OutputConflict, match="taken for garbage"):
                save(bucket, place)
        assert_sound(bucket, [save(bucket, place).digest])

    def test_local_copies_and_work_of_this_machine(self, bucket, tmp_path):
        for place in ("scratch/" + "0" * 64, "staging/save-" + "1" * 64, "scratch/mine"):
            (settings.home() / place).mkdir(parents=True)
            (settings.home() / place / "file").write_bytes(b"12345")
        age(settings.home())
        found = document("gc", "--delete")["garbage"]
        assert [(entry["bytes"], entry["removed"]) for entry in found] == [(5, True), (5, True)]
        assert (settings.home() / "scratch" / "mine" / "file").exists()

    def test_a_server_that_does_not_list_uploads_is_no_hindrance(self, bucket, monkeypatch):
        def refused(place, key=None):
            if key is None:
                raise BadReference("AccessDenied", hint="ask")
            return ()

        monkeypatch.setattr(Bucket, "incomplete", refused)
        assert garbage() == []


def test_a_store_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setenv("RECYCLE_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setattr("components.s3.retries.PATIENCE_S", 0.0)
    monkeypatch.setattr("components.s3.retries.FIRST_WAIT_S", 0.001)
    assert document("ls", code=1)["error"] == "ServiceUnavailable"


def test_a_reference_that_is_read_is_where_the_store_says(family):
    store, _, made = family
    assert open_checkpoint(made).uri == store.find(made.digest).uri
