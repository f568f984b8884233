"""A server that ignores If-None-Match is found before anything is written to it, and at next to no cost."""

from datetime import UTC, datetime, timedelta

import pytest

from components.errors import BadParameter, BadReference, ServiceUnavailable
from components.references.save import save_checkpoint
from components.s3.conditional import MARKER, _checked
from components.store.store import open_store
from tests.support.faulty_proxy import proxy, refusal, running_proxy  # noqa: F401 - fixtures
from tests.support.stores import checkpoints_in
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name


@pytest.fixture
def model(tmp_path):
    return str(make_checkpoint(tmp_path / "model"))


@pytest.fixture(autouse=True)
def _another_process():
    _checked.cache_clear()


def test_a_server_that_ignores_it_gets_nothing(proxy, bucket_store, model):
    proxy.fail("replace", "PUT", MARKER, times=1000, status=200, headers={"ETag": '"0123456789abcdef"'})
    with pytest.raises(BadParameter, match="ignores If-None-Match") as failure:
        save_checkpoint(model, open_store())
    assert "MinIO" in failure.value.hint
    assert [entry.key for entry in bucket_store.objects()] == [MARKER]
    assert len(proxy.requests("PUT")) == 2


def test_one_that_honours_it_is_asked_once_a_process(proxy, bucket_store, model, tmp_path):
    save_checkpoint(model, open_store())
    assert len(proxy.requests("PUT", MARKER)) == 2
    proxy.reset()
    _checked.cache_clear()
    for seed in (1, 2):
        save_checkpoint(str(make_checkpoint(tmp_path / f"other-{seed}", seed=seed)), open_store())
    assert len(proxy.requests("", MARKER)) == 1


def test_who_reads_asks_nothing(proxy, bucket_store, model):
    saved = save_checkpoint(model, open_store())
    proxy.reset()
    _checked.cache_clear()
    store = open_store()
    assert checkpoints_in(store) == [saved]
    with store.local(saved):
        pass
    assert save_checkpoint(model, store) == saved
    assert proxy.requests("PUT") == []


def test_the_marker_is_nobodys_garbage_and_is_never_deleted(proxy, bucket_store, model):
    save_checkpoint(model, open_store())
    found = open_store().garbage(datetime.now(UTC) + timedelta(hours=1))
    assert not [garbage for garbage in found if MARKER in garbage.location]
    assert proxy.requests("DELETE", MARKER) == []


@pytest.mark.parametrize("kind", ["lost", "refuse"])
def test_an_answer_that_is_lost(proxy, bucket_store, model, kind):
    proxy.fail(kind, "PUT", MARKER)
    save_checkpoint(model, open_store())


@pytest.mark.parametrize(
    ("status", "code", "error"), [(501, "NotImplemented", ServiceUnavailable), (403, "AccessDenied", BadReference)]
)
def test_a_refusal_is_told_at_once(proxy, bucket_store, model, status, code, error):
    refused = proxy.fail("status", "PUT", MARKER, times=1000, status=status, body=refusal(code, "for this reason"))
    with pytest.raises(error, match=f"{code}: for this reason"):
        save_checkpoint(model, open_store())
    assert refused.hits == 1
