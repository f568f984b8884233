"""The webhook over real HTTP: what arrives, what is tried again, what is never shown."""

import logging
import time

import pytest

from components.watch import webhook
from components.watch.webhook import notify
from tests.support.webhook_server import SECRET, webhook_server  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures are imported, and asked for by name

EVENTS = [{"release": "org/model@v2", "happened": "incompatible", "reason": "another architecture"}]


def tell():
    return notify(EVENTS, releases="hub:org/*", run="run 1")


def test_what_happened_arrives_as_json_with_a_text_for_people(webhook_server):
    assert tell() == ""
    ((path, kind, body),) = webhook_server.bodies
    assert (path, kind) == (f"/{SECRET}?key=1", "application/json; charset=utf-8")
    assert body["events"] == EVENTS
    assert (body["releases"], body["run"]) == ("hub:org/*", "run 1")
    assert body["text"] == "org/model@v2: incompatible, another architecture"


def test_a_name_calls_nobody(webhook_server):
    event = {"release": "a/<!channel>&", "happened": "failed", "reason": "none"}
    assert notify([event], releases="x", run="y") == ""
    assert webhook_server.bodies[0][2]["text"] == "a/&lt;!channel&gt;&amp;: failed, none"


def test_a_recycled_release_is_told_with_its_verdict_and_where_it_is(webhook_server):
    event = {
        "release": "r2",
        "happened": "recycled",
        "gate": "passed",
        "reason": "Better by 3 points.",
        "model": "m",
        "version": "4",
        "aliases": "candidate, champion",
    }
    assert notify([event], releases="x", run="y") == ""
    assert webhook_server.bodies[0][2]["text"] == (
        "r2: recycled, gate passed: Better by 3 points. Registered as m version 4 (candidate, champion)."
    )


@pytest.mark.parametrize("answers", [[503, 429], ["hang up", 500]])
def test_what_may_pass_is_tried_again(webhook_server, answers):
    webhook_server.answers = answers
    assert tell() == ""
    assert len(webhook_server.bodies) == 3


def test_after_three_tries_it_is_told_and_nothing_raised(webhook_server):
    webhook_server.answers = [503] * 10
    assert tell() == "the webhook at 127.0.0.1 was not told: HTTP 503"
    assert len(webhook_server.bodies) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302])
def test_a_refusal_is_not_tried_again_and_no_redirect_is_followed(webhook_server, status):
    webhook_server.answers = [status] * 3
    assert tell() == f"the webhook at 127.0.0.1 was not told: HTTP {status}"
    assert len(webhook_server.bodies) == 1


def test_one_that_answers_byte_by_byte_is_given_up(webhook_server, monkeypatch):
    monkeypatch.setattr(webhook, "LONGEST_S", 0.5)
    webhook_server.trickles = True
    started = time.monotonic()
    assert "did not answer within" in tell()
    assert time.monotonic() - started < 10


def test_without_an_address_nobody_is_told(monkeypatch):
    monkeypatch.delenv("RECYCLE_WEBHOOK", raising=False)
    assert tell() == ""


@pytest.mark.parametrize(
    "address",
    [
        f"http://127.0.0.1:9/{SECRET}",
        f"http://user:{SECRET}@127.0.0.1:9/",
        f"ftp://127.0.0.1/{SECRET}",
        f"http://169.254.169.254/{SECRET}",
        f"http://[::1/{SECRET}",
        f"http://127.0.0.1:99999/{SECRET}",
        f"http://127.0.0.1/a b{SECRET}",
        f"http://127.0.0.1:9/\u00e9{SECRET}",
        SECRET,
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_showing_it(address, monkeypatch, caplog):
    monkeypatch.setattr(webhook, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("RECYCLE_WEBHOOK", address)
    with caplog.at_level(logging.DEBUG):
        problem = tell()
    assert "was not told" in problem
    assert "planted-secret" not in problem + caplog.text
