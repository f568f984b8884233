"""Checkpoints from the hub: the real huggingface_hub client against a hub of our own that fails in every known way."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from huggingface_hub import close_session, constants

from components.checkpoints import blocks
from components.checkpoints.source import Source
from components.errors import (
    BadCheckpoint,
    BadParameter,
    BadReference,
    DigestMismatch,
    RecycleError,
    ServiceUnavailable,
)
from components.references.save import save_checkpoint
from components.sources import hub_errors as module
from components.sources.hub import HubSource
from components.store import copying
from components.store.copying import copy_file, copy_files
from components.store.folder.writer import FolderCheckpointWriter
from components.store.locate import open_checkpoint
from components.store.store import open_store
from components.system import network, retries
from tests.support.fakehub import FakeHub, server  # noqa: F401 - a fixture
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name

TOKEN = "hf_planted0secret1token2value3"
WEIGHTS = bytes(range(256)) * 1200
CONFIG = b'{"architectures": ["LlamaForCausalLM"], "hidden_size": 32}\n'
TIMEOUT_S = 0.3


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    for name, content in {
        "model.safetensors": WEIGHTS,
        "config.json": CONFIG,
        "notes.txt": b"hello\n",
        "empty.txt": b"",
        "LICENSE": b"free",
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "pytorch_model.bin": b"pickle",
        "modeling_custom.py": b"import os",
        "original/params.json": b"{}",
        "original/model.safetensors": b"1234",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def hub(server, folder, tmp_path, monkeypatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", TIMEOUT_S)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.reset()
    server.commit = server.add("org/model", folder, license="apache-2.0")
    return server


@pytest.fixture
def waits(monkeypatch):
    waits = []
    monkeypatch.setattr(retries, "interruptible_sleep", waits.append)
    return waits


def weights_of(source):
    return next(file for file in source.files() if file.path == "model.safetensors")


def copied(source, folder):
    """Copy the weights into a draft in `folder`, and return what progress was told."""
    told = []
    folder.mkdir(exist_ok=True)
    copy_file(source, weights_of(source), FolderCheckpointWriter(folder), told.append)
    return told


def spans(requests):
    return sorted(seen.headers["range"] for seen in requests)


class TestOpen:
    def test_pins_the_commit_and_says_where_it_comes_from(self, hub):
        source: Source = HubSource.open("org/model@main")
        assert source.reference == f"org/model@{hub.commit}"
        assert source.origin == {
            "kind": "hub",
            "repo": "org/model",
            "revision": "main",
            "commit": hub.commit,
            "license": "apache-2.0",
        }
        assert HubSource.open("org/model").origin == source.origin
        assert HubSource.open(source.reference).files() == source.files()

    def test_lists_only_what_a_checkpoint_may_carry(self, hub):
        listed = [file.path for file in HubSource.open("org/model").files()]
        assert listed == ["LICENSE", "config.json", "empty.txt", "model.safetensors", "notes.txt"]

    def test_knows_sizes_and_digests(self, hub):
        files = {file.path: file for file in HubSource.open("org/model").files()}
        weights, notes = files["model.safetensors"], files["notes.txt"]
        assert (weights.size, weights.sha256) == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())
        assert weights.git_blob is None
        # What `echo hello | git hash-object --stdin` prints.
        assert (notes.size, notes.sha256, notes.git_blob) == (6, None, "ce013625030ba8dba906f756967f9e9ca394464a")

    def test_does_not_show_a_password_of_the_endpoint(self, hub):
        source = replace(HubSource.open("org/model"), endpoint="https://user:password@mirror.example")
        assert "password" not in f"{source!r} {source.reference} {source.origin}"

    def test_stays_at_its_commit_when_the_branch_moves(self, hub, tmp_path):
        source = HubSource.open("org/model")
        (tmp_path / "newer").mkdir()
        (tmp_path / "newer/config.json").write_bytes(b"{}")
        hub.add("org/model", tmp_path / "newer")
        assert source.read("config.json") == CONFIG
        assert len(hub.requests("/api/models/")) == 1
        assert all(hub.commit in seen.path for seen in hub.requests("config.json"))

    @pytest.mark.parametrize("revision", ["stage2-ingredient1-step6000-tokens26B", "refs/pr/1", "v1.0+a@b"])
    def test_takes_any_revision_that_git_takes(self, hub, folder, revision):
        hub.add("org/model", folder, branch=revision)
        source = HubSource.open(f"org/model@{revision}")
        assert source.origin["revision"] == revision
        assert source.name == f"model@{revision}"

    @pytest.mark.parametrize(
        "reference",
        [
            *("", "@main", "org/", "/model", "a/b/c", "../model", "org/..", "org/.model", "org/-model", "org/mo--del"),
            *("org/mo del", "org/model.git", "org/mödel", "org/model\n", "org/model?x=1", "org%2fmodel", "org\\model"),
            *("https://huggingface.co/org/model", "org/model@", "org/model@../x", "org/model@a..b", "org/model@a b"),
            *("org/model@-x", "org/model@/x", "org/model@x/", "org/model@a//b", "org/model@a/.b", "org/model@a.lock"),
            *("org/model@a%2e%2e", "org/model@a?b", "org/model@a#b", "org/model@a\n", "org/model@a@{1}", "x" * 97),
            *("org/model@" + "x" * 256, "org/model@a\\b", "org/model@é"),
        ],
    )
    def test_refuses_a_malformed_reference_without_asking_the_hub(self, hub, reference):
        with pytest.raises(BadReference):
            HubSource.open(reference)
        assert hub.seen == []


def sibling(name="config.json", **changed):
    return {"rfilename": name, "size": 3, "blobId": "a" * 40} | changed


class TestListingOfAHubThatLies:
    @pytest.mark.parametrize("name", ["a\\..\\config.json", "a\x00.json", "%2e%2e%2fconfig.json", "a\nb.json"])
    def test_refuses_names_that_are_not_plain(self, hub, name):
        hub.siblings = [sibling(name)]
        with pytest.raises(BadCheckpoint):
            HubSource.open("org/model")

    @pytest.mark.parametrize(
        "name", ["../config.json", "/etc/config.json", "a/../../config.json", "..\\config.json", 5, None]
    )
    def test_leaves_out_what_is_not_at_the_top(self, hub, name):
        hub.siblings = [sibling(name), sibling("notes.txt")]
        assert [file.path for file in HubSource.open("org/model").files()] == ["notes.txt"]

    def test_refuses_a_name_twice(self, hub):
        hub.siblings = [sibling(), sibling(size=4)]
        with pytest.raises(BadCheckpoint, match="twice"):
            HubSource.open("org/model")

    @pytest.mark.parametrize(
        "changed",
        [
            *({"size": None}, {"size": -1}, {"size": "3"}, {"blobId": None}, {"blobId": "zz"}),
            {"lfs": {"size": 3, "sha256": "../../x", "pointerSize": 130}},
            {"lfs": {"size": 3}},
        ],
    )
    def test_refuses_a_file_without_size_or_digest(self, hub, changed):
        hub.siblings = [sibling(**changed)]
        with pytest.raises(ServiceUnavailable, match="HF_ENDPOINT"):
            HubSource.open("org/model")

    def test_refuses_another_commit_than_the_one_asked_for(self, hub):
        hub.repos["org/model"].branches["f" * 40] = hub.commit
        with pytest.raises(ServiceUnavailable, match="no commit"):
            HubSource.open("org/model@" + "f" * 40)


class TestRead:
    @pytest.mark.parametrize(("start", "length"), [(0, None), (0, 8), (8, 1000), (len(WEIGHTS) - 3, None), (7, 10**9)])
    @pytest.mark.parametrize(("path", "content"), [("model.safetensors", WEIGHTS), ("config.json", CONFIG)])
    def test_gives_exactly_the_range(self, hub, path, content, start, length):
        end = None if length is None else start + length
        assert HubSource.open("org/model").read(path, start, length) == content[start:end]

    def test_asks_for_nothing_when_there_is_nothing(self, hub):
        source = HubSource.open("org/model")
        assert source.read("empty.txt") == b""
        assert source.read("config.json", 10**6) == source.read("config.json", 3, 0) == b""
        assert hub.requests("resolve") == []

    def test_moves_only_the_range(self, hub):
        HubSource.open("org/model").read("model.safetensors", 100, 50)
        assert [seen.headers["range"] for seen in hub.requests("xet-bridge")] == ["bytes=100-149"]

    def test_refuses_files_that_do_not_belong(self, hub):
        source = HubSource.open("org/model")
        for path in ("pytorch_model.bin", "original/params.json", "../config.json", "nothing.json"):
            with pytest.raises(BadReference, match="no file"):
                source.read(path)

    def test_takes_a_whole_file_from_a_hub_without_ranges(self, hub):
        source = HubSource.open("org/model")
        hub.fail("whole", "config.json", times=100)
        assert source.read("config.json") == CONFIG
        with pytest.raises(ServiceUnavailable, match="ranges"):
            source.read("config.json", 0, 5)


FAULTS = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503, "body": b"[1]", "headers": {"Content-Type": "application/json"}},
    {"kind": "status", "status": 408},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    {"kind": "reset", "after": 100},
    {"kind": "short", "after": 0},
    {"kind": "short", "after": 100},
    {"kind": "long"},
    {"kind": "cut"},
    {"kind": "wrong-range"},
    {"kind": "gzip"},
    {"kind": "stall", "after": 100},
]
named = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}")


class TestFaults:
    @named
    def test_read_gets_over_one(self, hub, fault):
        source = HubSource.open("org/model")
        hub.fail(path="model.safetensors", storage=True, times=1, **fault)
        assert source.read("model.safetensors", 500, 1000) == WEIGHTS[500:1500]
        assert len(hub.requests("model.safetensors", storage=True)) == 2

    @named
    def test_copy_gets_over_two(self, hub, fault, tmp_path):
        source = HubSource.open("org/model")
        hub.fail(path="model.safetensors", storage=True, times=2, **fault)
        told = copied(source, tmp_path / "w")
        assert (tmp_path / "w/model.safetensors").read_bytes() == WEIGHTS
        assert sum(told) == len(WEIGHTS)
        assert len(hub.requests("model.safetensors", storage=True)) == 3

    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault["kind"] != "stall"], ids=lambda f: f["kind"])
    def test_read_gives_up_in_the_end(self, hub, fault):
        source = HubSource.open("org/model")
        hub.fail(path="model.safetensors", storage=True, times=1000, **fault)
        with pytest.raises(ServiceUnavailable):
            source.read("model.safetensors", 500, 1000)
        assert len(hub.requests("model.safetensors", storage=True)) == module.TRIES

    @pytest.mark.parametrize(
        ("path", "served", "content"),
        [("model.safetensors", "xet-bridge-us", WEIGHTS), ("config.json", "resolve-cache", CONFIG)],
    )
    def test_a_body_that_trickles_is_given_up_and_asked_for_again(self, hub, path, served, content, monkeypatch):
        monkeypatch.setattr(network, "WINDOW_S", 0.1)
        source = HubSource.open("org/model")
        fault = hub.fail("trickle", served, times=1000)
        started = time.monotonic()
        told = rf"bytes 5-54 of {path} of org/model@{hub.commit}: \d+ of 50 bytes, and then slower than"
        with pytest.raises(ServiceUnavailable, match=told) as failure:
            source.read(path, 5, 50)
        assert time.monotonic() - started < 5
        assert "run it again later" in failure.value.hint
        fault.times = 2
        assert source.read(path, 5, 50) == content[5:55]

    def test_open_gets_over_two(self, hub):
        hub.fail("status", "/revision/main", times=2, status=502)
        assert HubSource.open("org/model").commit == hub.commit

    def test_an_expired_link_to_the_storage_is_asked_for_again(self, hub):
        source = HubSource.open("org/model")
        hub.fail(
            "status", "model.safetensors", storage=True, status=403, body=b"<Error><Code>AccessDenied</Code></Error>"
        )
        assert source.read("model.safetensors", 0, 4) == WEIGHTS[:4]
        assert len(hub.requests("resolve/")) == 2

    def test_waits_longer_each_time_and_not_in_step_with_others(self, hub, waits, monkeypatch):
        monkeypatch.setattr(module, "FIRST_WAIT_S", 1.0)
        hub.fail("status", "/revision/main", times=4)
        HubSource.open("org/model")
        assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits)] == [True] * 4
        assert waits != [1, 2, 4, 8]

    @pytest.mark.parametrize("headers", [{"Retry-After": "37"}, {"RateLimit": '"api";r=0;t=37'}])
    def test_waits_as_long_as_the_hub_asks(self, hub, waits, headers):
        hub.fail("status", "/revision/main", status=429, headers=headers)
        HubSource.open("org/model")
        assert [37 < wait < 38 for wait in waits] == [True]

    def test_does_not_wait_for_an_hour(self, hub, waits):
        hub.fail("status", "/revision/main", status=429, headers={"Retry-After": "3600"})
        with pytest.raises(ServiceUnavailable, match="3600 s"):
            HubSource.open("org/model")
        assert waits == []


BLOCK = 100_000


@pytest.fixture
def _blocks(monkeypatch):
    """Four of them make the weights."""
    monkeypatch.setattr(copying, "BLOCK", BLOCK)


@pytest.mark.usefixtures("_blocks")
class TestCopy:
    def test_takes_every_file_by_ranges_and_checks_it(self, hub, folder, tmp_path):
        source = HubSource.open("org/model")
        (tmp_path / "w").mkdir()
        files = copy_files(source, source.files(), FolderCheckpointWriter(tmp_path / "w"))
        assert [file.path for file in files] == [file.path for file in source.files()]
        for file in files:
            content = (folder / file.path).read_bytes()
            assert (tmp_path / "w" / file.path).read_bytes() == content
            assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert spans(hub.requests("xet-bridge")) == [
            "bytes=0-99999",
            "bytes=100000-199999",
            "bytes=200000-299999",
            f"bytes=300000-{len(WEIGHTS) - 1}",
        ]

    def test_goes_on_after_what_is_there(self, hub, tmp_path, monkeypatch):
        monkeypatch.setattr(blocks, "THREADS", 1)
        source = HubSource.open("org/model")
        hub.fail("status", "model.safetensors", storage=True, range="bytes=200000-", status=404)
        with pytest.raises(BadReference):
            copied(source, tmp_path / "w")
        hub.seen.clear()
        told = copied(source, tmp_path / "w")
        assert (tmp_path / "w/model.safetensors").read_bytes() == WEIGHTS
        again = set(spans(hub.requests("xet-bridge")))
        assert "bytes=200000-299999" in again
        assert again <= {"bytes=200000-299999", f"bytes=300000-{len(WEIGHTS) - 1}"}
        assert told.count(BLOCK) == 3
        assert sum(told) == len(WEIGHTS)

    @pytest.mark.parametrize("kind", ["wrong-range", "whole", "gzip"])
    def test_only_keeps_what_it_asked_for(self, hub, tmp_path, kind):
        source = HubSource.open("org/model")
        hub.fail(kind, "model.safetensors", range="bytes=100000-", times=1000)
        with pytest.raises(ServiceUnavailable, match="ranges" if kind == "whole" else "asked for bytes 100000-199999"):
            copied(source, tmp_path / "w")
        assert len([span for span in spans(hub.requests("xet-bridge")) if "=100000-" in span]) == module.TRIES
        assert not (tmp_path / "w/model.safetensors").exists()
        hub.faults.clear()
        copied(source, tmp_path / "w")
        assert (tmp_path / "w/model.safetensors").read_bytes() == WEIGHTS

    def test_asks_for_nothing_when_the_file_is_there(self, hub, tmp_path):
        source = HubSource.open("org/model")
        copied(source, tmp_path / "w")
        hub.seen.clear()
        assert copied(source, tmp_path / "w") == [len(WEIGHTS)]
        empty = next(file for file in source.files() if file.path == "empty.txt")
        copy_file(source, empty, FolderCheckpointWriter(tmp_path / "w"), lambda count: None)
        assert (tmp_path / "w/empty.txt").read_bytes() == b""
        assert hub.requests("resolve") == []

    def test_a_transfer_that_gets_further_each_time_is_not_given_up(self, hub, tmp_path):
        for start in range(0, len(WEIGHTS), BLOCK):
            span = {"range": f"bytes={start}-", "times": module.TRIES - 1}
            hub.fail("short", "model.safetensors", storage=True, after=2000, **span)
        copied(HubSource.open("org/model"), tmp_path / "w")
        assert (tmp_path / "w/model.safetensors").read_bytes() == WEIGHTS

    def test_a_transfer_that_always_breaks_off_is_given_up(self, hub, tmp_path, monkeypatch):
        monkeypatch.setattr(blocks, "THREADS", 1)
        hub.fail("short", "model.safetensors", storage=True, times=1000, after=2000)
        with pytest.raises(ServiceUnavailable):
            copied(HubSource.open("org/model"), tmp_path / "w")
        assert len(hub.requests("xet-bridge")) <= 2 * module.TRIES

    @pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
    def test_a_bit_that_flipped_on_the_way_is_found(self, hub, tmp_path, path):
        source = HubSource.open("org/model")
        file = next(file for file in source.files() if file.path == path)
        writer = FolderCheckpointWriter(tmp_path)
        hub.fail("flip", path, storage=True, range="bytes=100000-")
        hub.fail("flip", f"resolve-cache/models/org/model/{hub.commit}/{path}")
        with pytest.raises(DigestMismatch, match=re.escape(path)):
            copy_file(source, file, writer, lambda count: None)
        assert writer.finished(path) is None
        hub.faults.clear()
        copy_file(source, file, writer, lambda count: None)
        assert writer.finished(path).size == file.size


MIB = 1 << 20
SAVE = """
import sys
from components.checkpoints import blocks
from components.store import copying
from components.references.save import save_checkpoint
from components.store.store import open_store
copying.BLOCK, blocks.THREADS = 5 << 20, 1
save_checkpoint("org/large", open_store())
"""


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_save_that_was_killed_goes_on_where_it_was(hub, kind, tmp_path, request, monkeypatch):
    if kind == "bucket":
        request.getfixturevalue("bucket_store")
    large = make_checkpoint(tmp_path / "large", hidden=512, layers=4)
    size = (large / "model.safetensors").stat().st_size
    hub.add("org/large", large)
    stalled = hub.fail("stall", "model.safetensors", storage=True, range=f"bytes={10 * MIB}-", after=1000)
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE],
        env=os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "60", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    until = time.monotonic() + 60
    while stalled.times and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert checkpoints_in(open_store()) == []

    hub.seen.clear()
    monkeypatch.setattr(copying, "BLOCK", 5 * MIB)
    saved = save_checkpoint("org/large", open_store())
    large_spans = [span for span in spans(hub.requests("model.safetensors", storage=True)) if wide(span)]
    assert large_spans == sorted(
        f"bytes={start}-{min(start + 5 * MIB, size) - 1}" for start in range(10 * MIB, size, 5 * MIB)
    )
    source = open_checkpoint(saved)
    assert source.read("model.safetensors") == (large / "model.safetensors").read_bytes()


def wide(span):
    first, last = span.removeprefix("bytes=").split("-")
    return int(last) - int(first) > MIB


class TestToken:
    @pytest.fixture(autouse=True)
    def _token(self, hub, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.tokens[TOKEN] = {"org/private", "org/gated"}

    def test_goes_to_the_hub_and_to_no_other_host(self, hub, tmp_path):
        source = HubSource.open("org/model")
        source.read("model.safetensors", 0, 8)
        copied(source, tmp_path / "w")
        on_hub, on_storage = hub.requests("", storage=False), hub.requests("", storage=True)
        assert len(on_storage) == 2
        assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in on_hub)
        assert not any(TOKEN in str(seen) for seen in on_storage)

    def test_opens_private_and_gated_models(self, hub, folder):
        hub.add("org/private", folder, private=True)
        hub.add("org/gated", folder, gated=True)
        for name in ("org/private", "org/gated"):
            assert HubSource.open(name).read("config.json") == CONFIG

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 451, 500])
    def test_is_in_no_message_and_no_log(self, hub, caplog, status):
        caplog.set_level("INFO")
        echo = f"who sent {TOKEN}? see https://user:pass@host/x".encode()
        source = HubSource.open("org/model")
        hub.fail("status", "resolve", status=status, body=echo, times=100, headers={"X-Error-Message": echo.decode()})
        with pytest.raises(RecycleError) as failure:
            source.read("config.json")
        assert TOKEN not in str(failure.value) + repr(source) + caplog.text
        assert "user:pass" not in str(failure.value)
        assert failure.value.__suppress_context__

    @pytest.mark.parametrize("token", ["hf_é", "hf_\x01secret", "hf_a b"])
    def test_that_cannot_be_one_is_refused_without_being_shown(self, hub, monkeypatch, token):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(BadParameter, match="HF_TOKEN") as failure:
            HubSource.open("org/model")
        assert token not in str(failure.value)

    def test_that_is_not_valid(self, hub, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_old")
        with pytest.raises(BadReference, match="refuses the token") as failure:
            HubSource.open("org/model")
        assert "settings/tokens" in failure.value.hint
        assert len(hub.seen) == 1

    def test_that_expired(self, hub):
        hub.fail("status", "/revision/", status=401, headers={"X-Error-Message": 'User Access Token "ci" is expired'})
        with pytest.raises(BadReference, match=r'refuses the token.*"ci" is expired'):
            HubSource.open("org/model")

    def test_without_access_to_a_gated_model(self, hub, folder):
        hub.add("org/other", folder, gated=True)
        with pytest.raises(BadReference, match="account of the token") as failure:
            HubSource.open("org/other").read("config.json")
        assert f"{hub.url}/org/other" in failure.value.hint

    def test_that_may_not_see_the_model(self, hub, folder):
        hub.add("org/secret", folder, private=True)
        with pytest.raises(BadReference, match="the token may not see it"):
            HubSource.open("org/secret")


class TestErrors:
    def test_no_such_repository(self, hub):
        with pytest.raises(BadReference, match="no model org/nothing, or it is private") as failure:
            HubSource.open("org/nothing")
        assert "HF_TOKEN" in failure.value.hint
        assert len(hub.seen) == 1

    def test_gated(self, hub, folder, tmp_path):
        hub.add("org/gated", folder, gated=True)
        source = HubSource.open("org/gated")
        for attempt in (lambda: source.read("config.json"), lambda: copied(source, tmp_path / "w")):
            with pytest.raises(BadReference, match="gated, and no token is set") as failure:
                attempt()
            assert f"{hub.url}/org/gated" in failure.value.hint
            assert "HF_TOKEN" in failure.value.hint

    def test_no_such_revision_names_the_nearest_first(self, hub, folder):
        for step in (1000, 2000, 6000):
            hub.add("org/model", folder, branch=f"stage2-ingredient1-step{step}-tokens26B")
        hub.add("org/model", folder, tag="v1")
        with pytest.raises(BadReference, match="has no revision stage2-ingredient1-step6001-tokens26B") as failure:
            HubSource.open("org/model@stage2-ingredient1-step6001-tokens26B")
        assert "such as stage2-ingredient1-step6000-tokens26B," in failure.value.hint

    def test_no_such_revision_and_no_list_of_them(self, hub):
        hub.fail("status", "/refs", body=b"<html>")
        with pytest.raises(BadReference, match="has no revision nope"):
            HubSource.open("org/model@nope")

    def test_a_commit_that_is_gone(self, hub):
        source = HubSource.open("org/model")
        hub.repos["org/model"].commits.clear()
        with pytest.raises(BadReference, match=f"has no revision {hub.commit}"):
            source.read("config.json")

    def test_rate_limited(self, hub):
        hub.fail("status", "/revision/main", status=429, times=100)
        with pytest.raises(ServiceUnavailable, match="rate of requests"):
            HubSource.open("org/model")
        assert len(hub.seen) == module.TRIES

    def test_not_reachable(self, hub, monkeypatch):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("HF_ENDPOINT", f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}/")
            with pytest.raises(ServiceUnavailable, match=r"cannot be reached.*refused") as failure:
                HubSource.open("org/model")
        assert "HF_ENDPOINT" in failure.value.hint
        assert "secret" not in str(failure.value)

    @pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example", "file:///etc", "http://", "https://a b"])
    def test_an_endpoint_that_cannot_be_one(self, hub, monkeypatch, endpoint):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(BadParameter, match="HF_ENDPOINT"):
            HubSource.open("org/model")

    @pytest.mark.parametrize("body", [b"<html>Log in to the network</html>", b"[]", b"null", b"{}", b'{"id": "a/b"}'])
    def test_something_else_that_answers(self, hub, body):
        hub.fail("status", "/revision/main", status=200, body=body)
        with pytest.raises(ServiceUnavailable, match="HF_ENDPOINT"):
            HubSource.open("org/model")

    def test_offline(self, hub, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(BadReference, match="HF_HUB_OFFLINE"):
            HubSource.open("org/model")
        assert hub.seen == []


def test_goes_through_the_proxy(hub, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    close_session()
    try:
        assert HubSource.open("org/model").read("config.json") == CONFIG
    finally:
        close_session()


def test_importing_it_is_cheap():
    program = "import components.sources.hub, sys; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
