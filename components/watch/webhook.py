"""Telling people by a webhook, whose address is a secret: RECYCLE_WEBHOOK."""

import json
import logging
import threading
from collections.abc import Mapping, Sequence

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError

from components import __version__, settings
from components.system import is_link_local

TRIES = 3
TIMEOUT_S = 10.0
FIRST_WAIT_S = 1.0
LONGEST_S = 30.0
"""Of everything together, also where the other end answers byte by byte."""

log = logging.getLogger(__name__)


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
    """Post; return why that failed, empty where it did not."""
    try:
        url = urllib3.util.parse_url(address)
    except LocationParseError:
        return "RECYCLE_WEBHOOK is not an address"
    if url.scheme not in ("http", "https") or not url.hostname:
        return "RECYCLE_WEBHOOK is not an http(s) address"
    if is_link_local(url.hostname.strip("[]")):
        return "it has a link-local address"
    # urllib3 logs addresses as a whole, also where it tries again.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"recycle/{__version__}"}
    retries = urllib3.Retry(
        TRIES - 1,
        redirect=False,  # it could lead anywhere
        status_forcelist=(408, 429, *range(500, 600)),
        allowed_methods=None,
        backoff_factor=FIRST_WAIT_S,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    pool = urllib3.PoolManager(timeout=TIMEOUT_S, retries=retries)
    try:
        status = pool.request("POST", url.url, body=body, headers=headers, redirect=False).status
    except MaxRetryError as error:
        return _reason(error.reason)
    except (HTTPError, OSError, UnicodeError) as error:
        return _reason(error)
    return "" if 200 <= status < 300 else f"HTTP {status}"


def _reason(error: Exception | None) -> str:
    """What went wrong, without the address that urllib3's own words have."""
    cause = error.__cause__ or error.__context__ if error else None
    return getattr(cause, "strerror", None) or type(error).__name__


def _site(address: str) -> str:
    """The host alone: the rest of the address, and what precedes an @ in it, may be a secret."""
    try:
        return urllib3.util.parse_url(address).hostname or "no address"
    except LocationParseError:
        return "no address"
