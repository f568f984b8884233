"""Requests to the hub that fail: which are tried again, and what a user is told in the end."""

import difflib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from components.errors import BadReference, RecycleError, ServiceUnavailable
from components.sources.hub_repo import RepoRevision, hub_headers, hub_token, is_revision
from components.system import RetryPolicy, printable, retry

Result = TypeVar("Result")

TRIES = 5
FIRST_WAIT_S = 1.0
# The hub counts requests over windows of five minutes: https://huggingface.co/docs/hub/rate-limits.
LONGEST_WAIT_S = 300.0

logger = logging.getLogger(__name__)


class BadHubAnswer(Exception):
    """The hub answered, with something else than what was asked for; another try may do better."""


def retried(at: RepoRevision, wanted: str, request: Callable[[], Result]) -> Result:
    """What `request` returns, tried again where that may help.

    Args:
        at: What it is about.
        wanted: What it asks for, as errors name it.
        request: Asks the hub once.

    Raises:
        RecycleError: the last try failed, or no other could end better.
    """
    return retry(
        request,
        RetryPolicy(first_wait_s=FIRST_WAIT_S, longest_wait_s=LONGEST_WAIT_S, max_tries=TRIES),
        _failures(),
        tell=lambda error, failing_s: logger.warning(
            "waiting for the hub, %.1f s by the next try, because it does not give %s: %s",
            failing_s,
            wanted,
            _text_of(error),
        ),
        may_pass=lambda error: _may_pass(at, error),
        explain=lambda error, failing_s: _explain(_Failure(at=at, wanted=wanted, error=error)),
        asked_wait_s=_asked_wait_s,
    )


def not_a_hub(at: RepoRevision, answer: str) -> RecycleError:
    """The error for an answer that the hub does not give."""
    return ServiceUnavailable(
        f"{at.site} gives, about {at}, {answer}: it does not answer as the hub does",
        hint="check HF_ENDPOINT and the proxies; if they are right, try again later",
    )


def _failures() -> tuple[type[Exception], ...]:
    """What a request can end with that is told to the user as a RecycleError."""
    from huggingface_hub import errors

    # The base of every error of the HTTP client that this huggingface_hub uses: httpx before 2.0, httpx2 since.
    http_error = errors.HfHubHTTPError.__bases__[0]
    return (http_error, errors.OfflineModeIsEnabled, BadHubAnswer)


def _asked_wait_s(error: Exception) -> float:
    """What `Retry-After` or, for a rate limit of the hub, `RateLimit: "api";r=0;t=55` asks for, in seconds."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError):
        return 0.0
    headers = error.response.headers
    limit = headers.get("RateLimit", "") if error.response.status_code == 429 else ""
    asked = re.search(r";\s*t=([0-9]{1,9})", limit) or re.fullmatch(r"([0-9]{1,9})", headers.get("Retry-After", ""))
    return float(asked[1]) if asked else 0.0


def _may_pass(at: RepoRevision, error: Exception) -> bool:
    """Whether another try can end better."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        # The link to the storage that the hub redirects to is valid for a time: a new try gets a new one.
        elsewhere = urlsplit(str(error.response.url)).netloc != urlsplit(at.endpoint).netloc.rpartition("@")[2]
        expired = status == 403 and elsewhere and "X-Error-Code" not in error.response.headers
        return status in (408, 429) or status >= 500 or expired
    return not isinstance(error, OfflineModeIsEnabled)


def _text_of(error: Exception) -> str:
    """What an error says, for people: without the token, and without links, which give access by themselves."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        text = f"HTTP {error.response.status_code} {error.server_message or ''}".strip()
    else:
        text = str(error) or type(error).__name__
    token = hub_token()
    text = re.sub(r"https?://\S+", "…", text.replace(token, "…") if token else text)
    return printable(text, instead=" ")[:300]


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A request that has no try left, and what the texts of `_CAUSES` may say of it."""

    at: RepoRevision
    wanted: str
    error: Exception

    def is_a(self, kind: str) -> bool:
        """Whether the error is of a class of this name, which is known without importing the client."""
        return any(base.__name__ == kind for base in type(self.error).__mro__)

    @property
    def status(self) -> int:
        """The HTTP status, 0 where the hub did not answer."""
        return self.error.response.status_code if self.is_a("HfHubHTTPError") else 0  # type: ignore[attr-defined]

    @property
    def refuses_token(self) -> bool:
        """Whether the hub does not know the token that it got."""
        if self.status != 401:
            return False
        response = self.error.response  # type: ignore[attr-defined]
        return response.headers.get("X-Error-Code") != "RepoNotFound" and "authorization" in response.request.headers

    @property
    def hides(self) -> bool:
        """Whether there is no such repository, or none that may be seen."""
        return self.is_a("RepositoryNotFoundError") or self.status == 401

    @property
    def text(self) -> str:
        return _text_of(self.error)

    @property
    def page(self) -> str:
        return f"{self.at.site}/{self.at.repo}"

    @property
    def until(self) -> str:
        """For how long requests are refused, where the hub says so."""
        wait_s = _asked_wait_s(self.error)
        return f" for the next {wait_s:.0f} s" if wait_s else ""

    @property
    def choice(self) -> str:
        """Revisions that there are and that look like the one asked for."""
        nearest = difflib.get_close_matches(self.at.revision, _revisions(self.at), n=4, cutoff=0.0)
        return f"use one that there is, such as {', '.join(nearest)}" if nearest else "check the name"


_CAUSES: tuple[tuple[Callable[[_Failure], bool], type[RecycleError], str, str], ...] = (
    (
        lambda failure: failure.is_a("OfflineModeIsEnabled"),
        BadReference,
        "{0.at} is on the hub, and HF_HUB_OFFLINE forbids to ask it",
        "unset HF_HUB_OFFLINE, or give the folder of a copy",
    ),
    (
        lambda failure: failure.is_a("BadHubAnswer"),
        ServiceUnavailable,
        "{0.at.site} keeps failing to give {0.wanted}: {0.text}",
        "run it again later: what was copied is kept; check that HF_ENDPOINT and proxies pass ranges on",
    ),
    (
        lambda failure: failure.status == 0,
        ServiceUnavailable,
        "the hub at {0.at.site} cannot be reached for {0.wanted}: {0.text}",
        "check the network, the proxies and HF_ENDPOINT, then run it again: what was copied is kept",
    ),
    (
        lambda failure: failure.is_a("GatedRepoError") and hub_token() != "",
        BadReference,
        "{0.at.repo} is gated, and the account of the token has no access to it",
        "accept its conditions at {0.page} with that account; a fine-grained token must read gated models",
    ),
    (
        lambda failure: failure.is_a("GatedRepoError"),
        BadReference,
        "{0.at.repo} is gated, and no token is set",
        "accept its conditions at {0.page}, then set HF_TOKEN to a token of that account",
    ),
    (
        lambda failure: failure.is_a("RevisionNotFoundError"),
        BadReference,
        "{0.at.repo} has no revision {0.at.revision}",
        "{0.choice}",
    ),
    (
        lambda failure: failure.refuses_token,
        BadReference,
        "{0.at.site} refuses the token ({0.text})",
        "make a new one at {0.at.site}/settings/tokens and set HF_TOKEN, or unset it for a public model",
    ),
    (
        lambda failure: failure.hides and hub_token() != "",
        BadReference,
        "{0.at.site} has no model {0.at.repo}, or the token may not see it",
        "check the name; if it is private, set HF_TOKEN to a token that may read it",
    ),
    (
        lambda failure: failure.hides,
        BadReference,
        "{0.at.site} has no model {0.at.repo}, or it is private and no token is set",
        "check the name; if it is private, set HF_TOKEN to a token that may read it",
    ),
    (
        lambda failure: failure.status == 429,
        ServiceUnavailable,
        "{0.at.site} limits the rate of requests and refuses {0.wanted}{0.until}",
        "run it again later: what was copied is kept; with an HF_TOKEN the limit is higher",
    ),
    (
        lambda failure: failure.status >= 500 or failure.status == 408,
        ServiceUnavailable,
        "{0.at.site} does not give {0.wanted}: {0.text}",
        "run it again later: what was copied is kept",
    ),
    (
        lambda failure: True,
        BadReference,
        "{0.at.site} does not give {0.wanted}: {0.text}",
        "look at {0.page}",
    ),
)
"""Which failure is told as which error, with which problem and hint: the first row that fits."""


def _explain(failure: _Failure) -> RecycleError:
    kind, problem, hint = next(row[1:] for row in _CAUSES if row[0](failure))
    return kind(problem.format(failure), hint=hint.format(failure))


def _revisions(at: RepoRevision) -> list[str]:
    """The branches and tags of a repository, or none where the hub does not tell: they only help a message."""
    from huggingface_hub import constants, get_session

    unhelpful: tuple[type[Exception], ...] = (*_failures(), KeyError, TypeError, ValueError)
    # list_repo_refs of the client takes no timeout, and its default is to wait for ever.
    url = f"{at.endpoint}/api/models/{at.repo}/refs"
    try:
        refs = get_session().get(url, headers=hub_headers(), timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT).json()
        names = [ref["name"] for kind in ("branches", "tags") for ref in refs[kind]]
    except unhelpful as error:
        logger.warning("the revisions of %s cannot be listed: %s", at, _text_of(error))
        return []
    return [name for name in names if isinstance(name, str) and is_revision(name)]
