"""Checkpoints of the Hugging Face Hub, read by HTTP ranges at one pinned commit."""

import difflib
import logging
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

from components import __version__
from components.checkpoints import MANIFEST, PICKLE_SUFFIXES, SourceFile, belongs, check_path
from components.errors import BadCheckpoint, BadParameter, BadReference, RecycleError, ServiceUnavailable
from components.system import MIN_BYTES_PER_S, MinimumThroughput, interruptible_sleep, is_link_local

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub import ModelInfo
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoSibling

Result = TypeVar("Result")

TRIES = 5
FIRST_WAIT_S = 1.0
# The hub counts requests over windows of five minutes: https://huggingface.co/docs/hub/rate-limits.
LONGEST_WAIT_S = 300.0
MOST_REDIRECTS = 5

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@/-]{0,254}")
_NOT_IN_REVISION = re.compile(r"\.\.|//|/\.|/-|@\{|(\.lock|\.|/)(/|$)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A model repository of the hub at one commit."""

    repo: str
    revision: str
    """As asked for: a branch, a tag or a commit."""
    commit: str
    endpoint: str = field(repr=False)
    license: str | None
    listing: tuple[SourceFile, ...] = field(repr=False)
    pickled: tuple[str, ...] = field(repr=False)
    release: str = ""
    """Its full name where it is a release of a family, for example `olmo2-7b:M3`."""

    @classmethod
    def open(cls, reference: str) -> "HubSource":
        """Resolve `repo@revision` (without `@`: `main`) to a commit, which every later request names.

        The hub is the one of `HF_ENDPOINT`, the token that of `HF_TOKEN` or of `hf auth login`.

        Raises:
            BadReference: the name is malformed, or there is no such repository or revision, or it may not be read.
            BadParameter: `HF_ENDPOINT` or `HF_TOKEN` cannot be one.
            BadCheckpoint: the repository lists files under names that are not plain.
            ServiceUnavailable: the hub does not answer, or not as the hub does.
        """
        place = RepoRevision.named(reference)
        info = place.retried(str(place), lambda: _model_info(place))
        if not _COMMIT.fullmatch(info.sha or "") or (_COMMIT.fullmatch(place.revision) and info.sha != place.revision):
            raise place.not_a_hub(f"no commit for {place.revision} but {info.sha!r}")
        return cls(
            repo=place.repo,
            revision=place.revision,
            commit=str(info.sha),
            endpoint=place.endpoint,
            license=_license(info),
            listing=_listing(place, info),
            pickled=_pickled(info),
        )

    @property
    def reference(self) -> str:
        """The release or else the repository, pinned to its commit."""
        return f"{self.release or self.repo}@{self.commit}"

    @property
    def uri(self) -> str:
        """The repository pinned to its commit, told from a path."""
        return f"hf://{self.repo}@{self.commit}"

    @property
    def manifest(self) -> None:
        """Nothing: the hub has models of others."""

    @property
    def name(self) -> str:
        """The repository's own name, and the revision where it is not `main`."""
        revision = self.commit[:8] if self.revision == self.commit else self.revision
        return self.repo.rsplit("/", 1)[-1] + ("" if revision == "main" else f"@{revision}")

    @property
    def origin(self) -> dict[str, str]:
        """Repository, revision asked for, commit, and where known the license its card names and the release it is."""
        origin = {"kind": "hub", "repo": self.repo, "revision": self.revision, "commit": self.commit}
        more = {"license": self.license, "release": self.release}
        return origin | {key: value for key, value in more.items() if value}

    def files(self) -> tuple[SourceFile, ...]:
        """Every allowed file at the top of the repository, sorted by path."""
        return self.listing

    def pickles(self) -> tuple[str, ...]:
        """Names of pickled weights at the top of the repository."""
        return self.pickled

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of a file from `start`, or up to its end; fewer where the file ends before.

        Raises:
            BadReference: the file does not belong to the checkpoint, or may not be read.
            ServiceUnavailable: the hub does not give these bytes, and no others, after some tries.
        """
        size = self._size(path)
        end = size if length is None else min(size, start + length)
        content = bytearray(max(0, end - start))
        if content:
            self.read_into(path, start, memoryview(content))
        return bytes(content)

    def read_into(self, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with a file's bytes from `start`.

        Raises:
            BadReference: the file may not be read, or is gone.
            ServiceUnavailable: the hub does not give these bytes, and no others, after some tries.
        """
        size = self._size(path)
        wanted = f"bytes {start}-{start + len(buffer) - 1} of {path} of {self._place}"
        self._place.retried(wanted, lambda: self._fill(path, start, buffer, size))

    @property
    def _place(self) -> "RepoRevision":
        return RepoRevision(endpoint=self.endpoint, repo=self.repo, revision=self.commit)

    def _size(self, path: str) -> int:
        size = next((file.size for file in self.listing if file.path == path), None)
        if size is None:
            raise BadReference(f"{self.reference} has no file {path!r}", hint="check the name")
        return size

    def _fill(self, path: str, start: int, buffer: memoryview, size: int) -> None:
        with self._answer(path, start, start + len(buffer)) as response:
            if _first_byte(response, start, start + len(buffer), size) != start:
                raise _BadAnswer(f"it sends the whole of {path} where a range was asked for")
            filled = 0
            for piece in _exactly(response, len(buffer)):
                buffer[filled : filled + len(piece)] = piece
                filled += len(piece)

    @contextmanager
    def _answer(self, path: str, start: int, end: int) -> Iterator["Response"]:
        """The hub's answer to a request for the bytes from `start` up to, not including, `end`."""
        from huggingface_hub import constants, get_session, hf_hub_url
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        url = hf_hub_url(self.repo, path, revision=self.commit, endpoint=self.endpoint)
        # A compressed answer has neither the file's offsets nor its size, and the hub then ignores the range.
        headers = _headers() | {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        # The client leaves the token out when it follows a redirect to another host, as to the hub's storage.
        session, timeout = get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
        with ExitStack() as answers:
            response = answers.enter_context(
                session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=False)
            )
            for _ in range(MOST_REDIRECTS):
                if response.next_request is None:
                    break
                if is_link_local(response.next_request.url.host):
                    raise _BadAnswer(f"it redirects {path} to a link-local address")
                response = session.send(response.next_request, stream=True, follow_redirects=False)
                answers.callback(response.close)
            try:
                hf_raise_for_status(response)
            except (AttributeError, TypeError, ValueError):
                # The client reads the body of a refusal for a message, and expects a JSON object.
                raise _BadAnswer(f"HTTP {response.status_code} for {path}") from None
            yield response


class _BadAnswer(Exception):
    """The hub answered, with something else than what was asked for; another try may do better."""


def _failures() -> tuple[type[Exception], ...]:
    """What a request can end with, told to the user as a RecycleError."""
    from huggingface_hub import errors

    # The base of every error of the HTTP client that this huggingface_hub uses: httpx before 2.0, httpx2 since.
    http_error = errors.HfHubHTTPError.__bases__[0]
    return (http_error, errors.OfflineModeIsEnabled, _BadAnswer)


def _first_byte(response: "Response", start: int, end: int, size: int) -> int:
    """Where in the file the body begins: at `start`, or at 0 where the hub ignored the range.

    Raises:
        _BadAnswer: it is another range, or of a file of another size, or compressed.
    """
    given = response.headers.get("Content-Range", "")
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.status_code == 200 and encoding == "identity":
        return 0
    if response.status_code == 206 and encoding == "identity" and given == f"bytes {start}-{end - 1}/{size}":
        return start
    answer = f"HTTP {response.status_code}, {encoding[:20]}, {given[:80]!r}"
    raise _BadAnswer(f"asked for bytes {start}-{end - 1}/{size}, given {answer}")


def _exactly(response: "Response", length: int) -> Iterator[bytes]:
    """Pieces of a body that must hold `length` bytes, and never more than those, and must come fast enough."""
    left, pace = length, MinimumThroughput()
    for piece in response.iter_raw():
        if len(piece) > left:
            raise _BadAnswer(f"more than the {length} bytes asked for")
        left -= len(piece)
        yield piece
        if left and pace.is_too_slow(len(piece)):
            raise _BadAnswer(f"{length - left} of {length} bytes, and then slower than {MIN_BYTES_PER_S} bytes/s")
    if left:
        raise _BadAnswer(f"{left} fewer than the {length} bytes asked for")


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(library_name="recycle", library_version=__version__)
    return headers


def _token() -> str:
    return _headers().get("authorization", "").removeprefix("Bearer ")


def _model_info(place: "RepoRevision") -> "ModelInfo":
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=place.endpoint, library_name="recycle", library_version=__version__)
    try:
        return api.model_info(
            place.repo, revision=place.revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise place.not_a_hub(f"a description that cannot be read ({type(error).__name__})") from None


def _license(info: "ModelInfo") -> str | None:
    named = info.card_data.get("license") if info.card_data else None
    return named if isinstance(named, str) and named.isprintable() else None


def _listing(place: "RepoRevision", info: "ModelInfo") -> tuple[SourceFile, ...]:
    named = [(str(sibling.rfilename), sibling) for sibling in info.siblings or ()]
    # A manifest there is about the bytes of whoever uploaded it, and ours would take its place.
    at_top = [sibling for name, sibling in named if "/" not in name and belongs(name) and name != MANIFEST]
    files = sorted((_source_file(place, sibling) for sibling in at_top), key=lambda file: file.path)
    if len({file.path for file in files}) < len(files):
        raise BadCheckpoint(f"{place} lists a file twice", hint="do not use this checkpoint")
    return tuple(files)


def _pickled(info: "ModelInfo") -> tuple[str, ...]:
    names = [str(sibling.rfilename) for sibling in info.siblings or ()]
    return tuple(sorted(name for name in names if "/" not in name and name.endswith(PICKLE_SUFFIXES)))


def _source_file(place: "RepoRevision", sibling: "RepoSibling") -> SourceFile:
    """What the hub says of a file. One in LFS has a sha256, and the git blob is only a pointer to it."""
    path = check_path(sibling.rfilename, str(place))
    size = sibling.lfs.size if sibling.lfs else sibling.size
    sha256, blob = (sibling.lfs.sha256, None) if sibling.lfs else (None, sibling.blob_id)
    if not isinstance(size, int) or size < 0:
        raise place.not_a_hub(f"the size {size!r} for {path}")
    if not (_SHA256.fullmatch(str(sha256)) or _COMMIT.fullmatch(str(blob))):
        raise place.not_a_hub(f"the digest {sha256 or blob!r} for {path}")
    return SourceFile(path=path, size=size, sha256=sha256, git_blob=blob)


@dataclass(frozen=True, kw_only=True)
class RepoRevision:
    """A revision of a repository of one hub, as errors name it."""

    endpoint: str
    repo: str
    revision: str

    @classmethod
    def named(cls, reference: str) -> "RepoRevision":
        """Parse `repo@revision` (see `HubSource.open`)."""
        repo, at, revision = reference.partition("@")
        if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git"):
            raise BadReference(
                f"{repo!r} cannot be the name of a repository of the hub",
                hint="give owner/name or owner/name@revision, as the hub's page of the model shows it",
            )
        revision = revision if at else "main"
        if not _REVISION.fullmatch(revision) or _NOT_IN_REVISION.search(revision):
            raise BadReference(
                f"{revision!r} cannot be a revision of {repo}", hint="give a branch, a tag or a commit after the @"
            )
        return cls(endpoint=_endpoint(), repo=repo, revision=revision)

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo

    @property
    def site(self) -> str:
        """The hub without the password that a URL can hold."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def retried(self, wanted: str, request: Callable[[], Result]) -> Result:
        """What `request` returns, tried again where that may help; errors name what was `wanted`."""
        tries = _Tries(self, wanted)
        while True:
            try:
                return request()
            except _failures() as error:
                tries.failed(error)

    def not_a_hub(self, answer: str) -> RecycleError:
        """The error for an answer that the hub does not give."""
        return ServiceUnavailable(
            f"{self.site} gives, about {self}, {answer}: it does not answer as the hub does",
            hint="check HF_ENDPOINT and the proxies; if they are right, try again later",
        )


def _endpoint() -> str:
    """The hub to use: the client reads `HF_ENDPOINT` when it is imported, we when a checkpoint is opened."""
    from huggingface_hub import constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    if not re.fullmatch(r"https?://[\w.:@\[\]%~+-]+(/[\w./-]*)?", endpoint, re.ASCII):
        raise BadParameter("HF_ENDPOINT is not the address of a hub", hint="set it to https://… or unset it")
    if is_link_local(urlsplit(endpoint).hostname or ""):
        raise BadParameter("HF_ENDPOINT is a link-local address", hint="set it to the hub's, or unset it")
    # The client's message for a header that cannot be sent would show it.
    if not re.fullmatch(r"[\x21-\x7e]*", _token()):
        raise BadParameter("HF_TOKEN holds characters that no token has", hint="set it again, or unset it")
    return endpoint


class _Tries:
    """Counts the failures of one piece of work, and waits longer after each."""

    def __init__(self, place: RepoRevision, wanted: str) -> None:
        self._place = place
        self._wanted = wanted
        self._failures = 0

    def failed(self, error: Exception) -> None:
        """Wait before the next try.

        Raises:
            RecycleError: it was the last one, or no other could end better.
        """
        self._failures += 1
        # Jitter only spreads the tries of many steps.
        wait_s = FIRST_WAIT_S * 2 ** (self._failures - 1) * random.uniform(0.5, 1.0) + _asked_wait_s(error)  # noqa: S311
        if self._failures == TRIES or wait_s > LONGEST_WAIT_S or not _may_pass(self._place, error):
            raise _explained(self._place, self._wanted, error) from None
        log.warning("waiting for the hub, %.1f s, because it does not give %s: %s", wait_s, self._wanted, _told(error))
        interruptible_sleep(wait_s)


def _asked_wait_s(error: Exception) -> float:
    """What `Retry-After` or, for a rate limit of the hub, `RateLimit: "api";r=0;t=55` asks for, in seconds."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError):
        return 0.0
    headers = error.response.headers
    limit = headers.get("RateLimit", "") if error.response.status_code == 429 else ""
    asked = re.search(r";\s*t=([0-9]{1,9})", limit) or re.fullmatch(r"([0-9]{1,9})", headers.get("Retry-After", ""))
    return float(asked[1]) if asked else 0.0


def _may_pass(place: RepoRevision, error: Exception) -> bool:
    """Whether another try can end better."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        # The link to the storage that the hub redirects to is valid for a time: a new try gets a new one.
        elsewhere = urlsplit(str(error.response.url)).netloc != urlsplit(place.endpoint).netloc.rpartition("@")[2]
        expired = status == 403 and elsewhere and "X-Error-Code" not in error.response.headers
        return status in (408, 429) or status >= 500 or expired
    return not isinstance(error, OfflineModeIsEnabled)


def _told(error: Exception) -> str:
    """What an error says, for people: without the token, and without links, which give access by themselves."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        text = f"HTTP {error.response.status_code} {error.server_message or ''}".strip()
    else:
        text = str(error) or type(error).__name__
    token = _token()
    text = re.sub(r"https?://\S+", "…", text.replace(token, "…") if token else text)
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]


def _explained(place: RepoRevision, wanted: str, error: Exception) -> RecycleError:
    """The error that a user meets when no try is left."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return BadReference(
            f"{place} is on the hub, and HF_HUB_OFFLINE forbids to ask it",
            hint="unset HF_HUB_OFFLINE, or give the folder of a copy",
        )
    if isinstance(error, HfHubHTTPError):
        return _refusal(place, wanted, error)
    if isinstance(error, _BadAnswer):
        return ServiceUnavailable(
            f"{place.site} keeps failing to give {wanted}: {_told(error)}",
            hint="run it again later: what was copied is kept; check that HF_ENDPOINT and proxies pass ranges on",
        )
    return ServiceUnavailable(
        f"the hub at {place.site} cannot be reached for {wanted}: {_told(error)}",
        hint="check the network, the proxies and HF_ENDPOINT, then run it again: what was copied is kept",
    )


def _refusal(place: RepoRevision, wanted: str, error: "HfHubHTTPError") -> RecycleError:
    """The error for a request that the hub understood and did not fulfil."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status, code = error.response.status_code, error.response.headers.get("X-Error-Code")
    if isinstance(error, GatedRepoError):
        return _gated(place)
    if isinstance(error, RevisionNotFoundError):
        return _no_revision(place)
    if status == 401 and code != "RepoNotFound" and "authorization" in error.response.request.headers:
        return BadReference(
            f"{place.site} refuses the token ({_told(error)})",
            hint=f"make a new one at {place.site}/settings/tokens and set HF_TOKEN, or unset it for a public model",
        )
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return _no_repository(place)
    if status == 429:
        wait_s = _asked_wait_s(error)
        until = f" for the next {wait_s:.0f} s" if wait_s else ""
        return ServiceUnavailable(
            f"{place.site} limits the rate of requests and refuses {wanted}{until}",
            hint="run it again later: what was copied is kept; with an HF_TOKEN the limit is higher",
        )
    if status >= 500 or status == 408:
        return ServiceUnavailable(
            f"{place.site} does not give {wanted}: {_told(error)}", hint="run it again later: what was copied is kept"
        )
    return BadReference(
        f"{place.site} does not give {wanted}: {_told(error)}", hint=f"look at {place.site}/{place.repo}"
    )


def _gated(place: RepoRevision) -> RecycleError:
    page = f"{place.site}/{place.repo}"
    if _token():
        return BadReference(
            f"{place.repo} is gated, and the account of the token has no access to it",
            hint=f"accept its conditions at {page} with that account; a fine-grained token must read gated models",
        )
    return BadReference(
        f"{place.repo} is gated, and no token is set",
        hint=f"accept its conditions at {page}, then set HF_TOKEN to a token of that account",
    )


def _no_repository(place: RepoRevision) -> RecycleError:
    hidden = "the token may not see it" if _token() else "it is private and no token is set"
    return BadReference(
        f"{place.site} has no model {place.repo}, or {hidden}",
        hint="check the name; if it is private, set HF_TOKEN to a token that may read it",
    )


def _no_revision(place: RepoRevision) -> RecycleError:
    nearest = difflib.get_close_matches(place.revision, _revisions(place), n=4, cutoff=0.0)
    choice = f"use one that there is, such as {', '.join(nearest)}" if nearest else "check the name"
    return BadReference(f"{place.repo} has no revision {place.revision}", hint=choice)


def list_hub(repo: str, path: str, query: Mapping[str, str | list[str]], what: str) -> Iterator[Any]:
    """What a list of the hub's API holds, page after page: JSON that is still to be looked at.

    Args:
        repo: the repository, or the account, that it is about.
        path: below `/api/models`.
        query: of the first page; the hub's own links lead to the others.
        what: is listed, for messages.

    Raises:
        BadReference: there is no such list, or it may not be read.
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """
    place = RepoRevision(endpoint=_endpoint(), repo=repo, revision="")
    url, seen = f"{place.endpoint}/api/models{path}?{urlencode(query, doseq=True)}", set[str]()
    while url:
        if url in seen or not url.startswith(f"{place.endpoint}/"):  # the token is for this hub alone
            raise place.not_a_hub("a list that leads elsewhere, or in circles")
        seen.add(url)
        page, url = place.retried(what, lambda url=url: _page(url))  # type: ignore[misc]
        if not isinstance(page, list | dict):
            raise place.not_a_hub("a list that is none")
        yield from page if isinstance(page, list) else [page]


def _page(url: str) -> tuple[Any, str]:
    """One page, and the address of the next, empty after the last."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    response = get_session().get(url, headers=_headers(), timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    try:
        hf_raise_for_status(response)
        return response.json(), str(response.links.get("next", {}).get("url", ""))
    except (AttributeError, TypeError, ValueError):
        raise _BadAnswer(f"HTTP {response.status_code} without the JSON of a list") from None


def _revisions(place: RepoRevision) -> list[str]:
    """The branches and tags of a repository, or none where the hub does not tell: they only help a message."""
    from huggingface_hub import constants, get_session

    unhelpful: tuple[type[Exception], ...] = (*_failures(), KeyError, TypeError, ValueError)
    # list_repo_refs of the client takes no timeout, and its default is to wait for ever.
    url = f"{place.endpoint}/api/models/{place.repo}/refs"
    try:
        refs = get_session().get(url, headers=_headers(), timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT).json()
        names = [ref["name"] for kind in ("branches", "tags") for ref in refs[kind]]
    except unhelpful as error:
        log.warning("the revisions of %s cannot be listed: %s", place.repo, _told(error))
        return []
    return [name for name in names if isinstance(name, str) and _REVISION.fullmatch(name)]
