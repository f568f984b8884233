"""Names from others: nothing outside a checkpoint, a store, a bucket or the S3 server is asked for, or told."""

import logging
from contextlib import suppress
from types import SimpleNamespace

import pytest

from components.checkpoints.manifest import MANIFEST, Checkpoint, File, content_digest
from components.errors import BadCheckpoint, BadParameter, BadReference, RecycleError, ServiceUnavailable
from components.references.open import open_source
from components.references.save import save_checkpoint
from components.s3.bucket import Bucket, parse_uri
from components.s3.conditional import MARKER
from components.sources.hub import HubSource
from components.sources.s3 import S3Source
from components.steps.save_checkpoint import save_checkpoint as save_step
from components.store.locate import open_checkpoint
from components.store.store import open_store
from tests.support.fakehub import FakeHub
from tests.support.faulty_proxy import listing, proxy, running_proxy  # noqa: F401 - fixtures
from tests.support.minio_server import SECRET
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name

HOSTILE = [
    "..",
    ".",
    "",
    "../x",
    "x/../y",
    "x/..",
    "./x",
    "/x",
    "//x",
    "x//y",
    "x/",
    "%2e%2e/x",
    "%2E%2E",
    "x%2Fy",
    "x%00y",
    "x\0y",
    "x\ny",
    "x\r\ny",
    "x\x7fy",
    "x\x1by",
    "\\x",
    "..\\x",
    "x\\..\\y",
    "C:\\x",
    "x\u202ey",
    "x\u200by",
    "x\ufeff",
    "/etc/passwd",
    "../../../../etc/passwd",
    "....//x/../..",
    "x/%2e%2e/y",
]
"""Paths that lead elsewhere, or may in somebody's decoding, or do not look as what they are."""

URIS = [
    *(f"s3://bucket/{name}" for name in HOSTILE if name not in ("", "x/")),
    "s3://",
    "s3:///",
    "s3:///x",
    "s3://BUCKET/x",
    "s3://b/x",
    "s3://../x",
    "s3://./x",
    "s3://bucket..name/x",
    "s3://bucket.-name/x",
    "s3://169.254.169.254/latest",
    "s3://127.0.0.1:9000/x",
    "s3://[::1]/x",
    "s3://key:secret@bucket/x",
    "s3://bucket:9000/x",
    "s3://bucket?versionId=x",
    "s3://bucket#x",
    "s3://bucket%2f..%2fother/x",
    "s3://bucket\\x",
    "s3://bucket\0/x",
    f"s3://{'b' * 64}/x",
    "s3:bucket/x",
    "S3://bucket/x",
    "http://169.254.169.254/latest/meta-data",
]


@pytest.mark.parametrize("uri", URIS)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(proxy, uri):
    with pytest.raises(RecycleError):
        open_source(uri).files()
    with pytest.raises(BadReference):
        parse_uri(uri)
    assert not proxy.seen


@pytest.mark.parametrize("scheme", ["s3", "https", "hf"])
def test_an_address_that_holds_a_password_is_not_repeated(scheme):
    with pytest.raises(BadReference) as failure:
        open_source(f"{scheme}://key:planted-secret@bucket/x")
    assert "planted-secret" not in str(failure.value)


OPERATIONS = {
    "get": lambda place, key: place.get(key),
    "head": lambda place, key: place.head(key),
    "read": lambda place, key: place.read_into(key, 0, memoryview(bytearray(1)), None),
    "put": lambda place, key: place.put(key, b""),
    "copy from": lambda place, key: place.copy(place, key, "x"),
    "copy to": lambda place, key: place.copy(place, "x", key),
    "delete": lambda place, key: place.delete(key),
    "begin": lambda place, key: place.start_upload(key),
    "part": lambda place, key: place.upload_part(key, "x", 1, b""),
    "complete": lambda place, key: place.complete_upload(key, "x", {}),
    "abort": lambda place, key: place.abort_upload(key, "x"),
    "uploads": lambda place, key: place.uploads(key),
    "parts": lambda place, key: place.parts(key, "x"),
    "under": lambda place, key: place.under(key).objects(),
}


@pytest.mark.parametrize("name", [*HOSTILE, "\ud800"])
def test_a_hostile_key_is_asked_of_no_server(proxy, bucket_store, name):
    for operation in OPERATIONS.values():
        with pytest.raises(BadCheckpoint, match="not a plain key"):
            operation(bucket_store, name)
    assert not proxy.seen


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_path_in_a_manifest(proxy, bucket_store, name, tmp_path):
    manifest = made_of(File(path="config.json", size=2, sha256="0" * 64), File(path=name, size=2, sha256="0" * 64))
    place = bucket_store.under("checkpoints/hostile")
    place.put("config.json", b"{}")
    place.put(MANIFEST, manifest.to_json())
    proxy.reset()
    for act in (lambda: save_checkpoint(place.uri, open_store()), lambda: manifest.source_files):
        with pytest.raises(BadCheckpoint):
            act()
    assert all(target.split("?")[0].startswith(f"/{place.name}") for _, target in proxy.seen)
    assert not proxy.requests("GET", "etc|%2e|%2E|\\.\\.")
    assert not checkpoints_in(open_store())
    with pytest.raises(RecycleError), open_store().local(manifest):
        pytest.fail("it is no checkpoint of the store")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", [r"\ud800", r"\u0000", r"\u202e", r"..\/x"])
def test_a_hostile_path_that_only_json_can_spell(name):
    document = made_of(File(path="hostile", size=2, sha256="0" * 64)).to_json().replace(b"hostile", name.encode())
    with pytest.raises(BadCheckpoint):
        Checkpoint.parse(document, "somewhere")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other-bucket/store",
        "{store}-other/checkpoints/x",
        "{store}/../other",
        "{store}/%2e%2e/other",
        "{store}/checkpoints/../../other",
        "s3://169.254.169.254/x",
        "http://169.254.169.254/x",
        "https://[fe80::1]/x",
        "ftp://host/x",
        "file://{home}/../../elsewhere",
        "hf://org/model@main",
        "models:/x/1",
        "",
        "\0",
    ],
)
def test_a_manifest_that_says_its_files_are_elsewhere(proxy, bucket_store, tmp_path, uri):
    """Our credentials are for our store: another place is not asked."""
    uri = uri.format(store=bucket_store.uri, home=tmp_path / "home")
    manifest = made_of(File(path="config.json", size=2, sha256="0" * 64)).model_copy(update={"uri": uri})
    with pytest.raises(RecycleError):
        open_checkpoint(manifest)
    allowed = f"/{bucket_store.name}/{bucket_store.prefix}/"
    assert all(target.startswith(allowed) for _, target in proxy.seen)


@pytest.mark.parametrize("name", [*HOSTILE, "sub/config.json", "x.py", "x.bin", ".hidden.json", MANIFEST])
def test_a_hostile_key_in_a_listing_is_no_file(proxy, bucket_store, name):
    body = listing(bucket_store, [f"{bucket_store.prefix}/{name}", f"{bucket_store.prefix}/config.json"])
    proxy.fail("status", "GET", "list-type", times=1000, status=200, body=body)
    source = S3Source(bucket_store)
    with suppress(ServiceUnavailable):  # where it is no XML
        assert [file.path for file in source.files()] == ["config.json"]


@pytest.mark.parametrize("name", ["../x", "/x", "x/../../y", "%2e%2e/x", "x\ny", "..", "\\x"])
def test_an_index_that_names_another_place(proxy, bucket_store, name):
    """Whoever can write there can write all; it must not make us read, copy or remove elsewhere all the same."""
    manifest = made_of(File(path="config.json", size=2, sha256="0" * 64))
    bucket_store.put(f"digests/{manifest.digest}", name.encode())
    bucket_store.put(f"results/files/{'0' * 64}", name.encode())
    proxy.reset()
    store = open_store()
    with pytest.raises(BadCheckpoint, match="not a plain key"):
        store.manifest(manifest.digest)
    with pytest.raises(BadCheckpoint, match="not a plain key"):
        store.writer(SimpleNamespace(name="save-x")).adopt("x.safetensors", 2, "0" * 64)
    seen = [method for method, target in proxy.seen if not target.endswith(MARKER)]
    assert seen == ["GET", "GET", "GET"], "the index, the mark of a removal, the result"
    assert store.find(manifest.digest) is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://169.254.169.254:80/",
        "http://169.254.0.1",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0251.0376.0251.0376",
        "http://169.254.43518",
        "http://[fe80::1]",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
    ],
)
def test_a_link_local_server_is_refused_however_it_is_spelt(monkeypatch, endpoint):
    credentials(monkeypatch, endpoint)
    with pytest.raises(BadParameter, match="link-local"):
        Bucket("bucket", "").get("x")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://user:planted-secret@127.0.0.1:9000",
        "http://planted-secret@127.0.0.1:9000",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:9000",
        "http://",
        "http:///x",
        "http://127.0.0.1:9000/path",
        "http://127.0.0.1:9000/?x=planted-secret",
        "http://127.0.0.1:9000#x",
        "http://127.0.0.1:port",
        "http://127.0.0.1:999999",
        "http://[::1",
        "http://ho st",
        "http://ho\nst",
        "http://host\\@other",
        "http://host%2fpath",
        "https://s3.example.com/bucket",
    ],
)
def test_an_endpoint_that_is_none_is_refused_and_not_repeated(monkeypatch, endpoint):
    credentials(monkeypatch, endpoint)
    with pytest.raises(BadParameter, match="AWS_ENDPOINT_URL_S3") as failure:
        Bucket("bucket", "").get("x")
    assert "planted-secret" not in str(failure.value)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_credentials_that_are_not_set(monkeypatch, name):
    credentials(monkeypatch, "http://127.0.0.1:9000")
    monkeypatch.delenv(name)
    with pytest.raises(BadParameter, match="no credentials"):
        Bucket("bucket", "").get("x")


def credentials(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")


def made_of(*files):
    return Checkpoint(
        name="hostile",
        uri="s3://elsewhere/x",
        digest=content_digest(files),
        files=files,
        architecture="x",
        parameters=1,
        dtypes={"F32": 1},
        tensors_fingerprint="",
        tokenizer_fingerprint="",
        origin={},
    )


class TestSecrets:
    """What is planted is nowhere but in the environment."""

    PLANTED = "hf_planted0token"
    TOKEN = "planted-session-token"

    def test_of_work_that_ends_well(self, proxy, bucket_store, tmp_path, monkeypatch, caplog, capfd):
        monkeypatch.setenv("HF_TOKEN", self.PLANTED)
        caplog.set_level(logging.DEBUG)
        proxy.fail("status", times=3, skip=5)
        artifact = SimpleNamespace(path=str(tmp_path / "out" / "checkpoint"), metadata={})
        save_step.python_func(str(make_checkpoint(tmp_path / "model")), "base", artifact)
        self._nowhere(tmp_path, bucket_store, caplog.text + "".join(capfd.readouterr()) + str(artifact.metadata))

    @pytest.mark.parametrize("echo", ["message", "html", "code"])
    def test_of_a_server_that_repeats_them(self, proxy, bucket_store, tmp_path, monkeypatch, caplog, capfd, echo):
        monkeypatch.setenv("HF_TOKEN", self.PLANTED)
        monkeypatch.setenv("AWS_SESSION_TOKEN", self.TOKEN)
        caplog.set_level(logging.DEBUG)
        told = f"{SECRET} {self.TOKEN} https://host/x?X-Amz-Signature=abc&X-Amz-Security-Token={self.TOKEN}"
        body = {
            "message": f"<Error><Code>SlowDown</Code><Message>{told.replace('&', '&amp;')}</Message></Error>",
            "html": f"<html>{told}",
            "code": f"<Error><Code>{told.replace('&', '&amp;')}</Code></Error>",
        }[echo]
        headers = {"Content-Type": "text/html"} if echo == "html" else {}
        proxy.fail("status", times=1000, body=body.encode(), headers=headers)
        artifact = SimpleNamespace(path=str(tmp_path / "out" / "checkpoint"), metadata={})
        with pytest.raises(RecycleError) as failure:
            save_step.python_func(str(make_checkpoint(tmp_path / "model")), "base", artifact)
        proxy.reset()
        monkeypatch.delenv("AWS_SESSION_TOKEN")
        shown = str(failure.value) + repr(failure.value) + caplog.text + "".join(capfd.readouterr())
        assert "X-Amz-Signature" not in shown
        self._nowhere(tmp_path, bucket_store, shown)

    def _nowhere(self, tmp_path, place, shown):
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        kept += b"".join(place.get(entry.key) for entry in place.objects())
        for secret in (SECRET, self.PLANTED, self.TOKEN):
            assert secret not in shown
            assert secret.encode() not in kept


class TestHub:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        with FakeHub() as hub:
            hub.add("org/model", make_checkpoint(tmp_path / "model"))
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            monkeypatch.setattr("components.sources.hub_errors.FIRST_WAIT_S", 0.001)
            yield hub

    @pytest.mark.parametrize("place", ["http://169.254.169.254/latest", "http://2852039166/", "//[fe80::1]/x"])
    def test_a_redirect_to_a_link_local_address_is_not_followed(self, hub, place):
        source = HubSource.open("org/model")
        hub.fail("status", "resolve", status=302, headers={"Location": place}, times=1000)
        with pytest.raises(ServiceUnavailable, match="link-local"):
            source.read("config.json")

    def test_a_redirect_that_never_ends(self, hub):
        source = HubSource.open("org/model")
        hub.fail("status", "", status=302, headers={"Location": f"{hub.url}/again"}, times=1000)
        with pytest.raises(RecycleError):
            source.read("config.json")
        assert len(hub.seen) < 50

    def test_one_at_a_link_local_address(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://169.254.169.254")
        with pytest.raises(BadParameter, match="link-local"):
            HubSource.open("org/model")
