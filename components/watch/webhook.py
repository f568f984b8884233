"""Telling people by a webhook, whose address is a secret: RECYCLE_WEBHOOK."""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from components import __version__, settings
from components.system import is_link_local

TRIES = 3
TIMEOUT_S = 10.0
FIRST_WAIT_S = 1.0
LONGEST_S = 30.0
"""Of everything together, also where the other end answers byte by byte."""

log = logging.getLogger(__name__)


class _Refused(Exception):
    """The other end answered, and another try would not do better."""


def notify(events: Sequence[Mapping[str, str]], *, releases: str, run: str) -> str:
    """Post what happened, as JSON, where RECYCLE_WEBHOOK says; nothing where it is not set.

    The object has `text`, which chat programs show, and the `events` themselves.

    Returns:
        Why it did not arrive, for people; empty where it did.
    """
    address = settings.webhook()
    if not address:
        return ""
    text = "\n".join(_escaped(_sentence(event)) for event in events)
    body = json.dumps({"text": text, "releases": releases, "run": run, "events": list(events)}, ensure_ascii=False)
    problems: list[str] = []
    # A thread that is given up dies with the process: the socket's timeout counts anew with each byte.
    posting = threading.Thread(target=lambda: problems.append(_post(address, body.encode())), daemon=True)
    posting.start()
    posting.join(LONGEST_S)
    problem = problems[0] if problems else f"it did not answer within {LONGEST_S:.0f} s"
    if problem:
        problem = f"the webhook at {_site(address)} was not told: {problem}"
        log.warning("%s", problem)
    return problem


def _sentence(event: Mapping[str, str]) -> str:
    if event["happened"] != "recycled":
        return f"{event['release']}: {event['happened']}, {event['reason']}"
    return (
        f"{event['release']}: recycled, gate {event['gate']}: {event['reason']} "
        f"Registered as {event['model']} version {event['version']} ({event['aliases']})."
    )


def _escaped(text: str) -> str:
    """As chat programs want text that others wrote: Slack, for one, takes `<!channel>` for a call to everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(address: str, body: bytes) -> str:
    """Try to post; why it failed, empty where it did not."""
    problem = ""
    for number in range(TRIES):
        if number:
            time.sleep(FIRST_WAIT_S * 2 ** (number - 1))
        try:
            _try(address, body)
            return ""
        except _Refused as error:
            return str(error)
        except (OSError, HTTPException) as error:
            problem = getattr(error, "strerror", None) or type(error).__name__
    return problem


def _try(address: str, body: bytes) -> None:
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        raise _Refused("RECYCLE_WEBHOOK is no address") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise _Refused("RECYCLE_WEBHOOK is no http(s) address")
    if is_link_local(url.hostname):
        raise _Refused("it has a link-local address")
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname, port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"recycle/{__version__}"}
    try:
        connection.request("POST", f"{url.path or '/'}{'?' if url.query else ''}{url.query}", body, headers)
        status = connection.getresponse().status
    except UnicodeError:
        raise _Refused("RECYCLE_WEBHOOK has characters that no address has") from None
    finally:
        connection.close()
    if status >= 500 or status in (408, 429):
        raise OSError(status, f"HTTP {status}")
    if not 200 <= status < 300:  # a redirect could lead anywhere
        raise _Refused(f"HTTP {status}")


def _site(address: str) -> str:
    """The host alone: the rest of the address, and what precedes an @ in it, may be a secret."""
    try:
        return urlsplit(address).hostname or "no address"
    except ValueError:
        return "no address"
