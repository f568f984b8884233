"""Requests to the hub: the description of a repository, lists of its API, and bytes of a file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from components import __version__
from components.checkpoints import MANIFEST, PICKLE_SUFFIXES, SourceFile, belongs, check_path
from components.errors import BadCheckpoint
from components.sources.hub_errors import BadHubAnswer, not_a_hub, retried
from components.sources.hub_repo import RepoRevision, hub_endpoint, hub_headers
from components.system import MIN_BYTES_PER_S, MinimumThroughput, is_link_local

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub import ModelInfo
    from huggingface_hub.hf_api import RepoSibling

MOST_REDIRECTS = 5

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def model_info(at: RepoRevision) -> "ModelInfo":
    """The hub's description of a repository at a revision, with its files.

    Raises:
        BadReference: there is no such repository or revision, or it may not be read.
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """
    return retried(at, str(at), lambda: _model_info(at))


def _model_info(at: RepoRevision) -> "ModelInfo":
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=at.endpoint, library_name="recycle", library_version=__version__)
    try:
        return api.model_info(
            at.repo, revision=at.revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise not_a_hub(at, f"a description that cannot be read ({type(error).__name__})") from None


def license_of(info: "ModelInfo") -> str | None:
    """The license that the model's card names, if it does."""
    named = info.card_data.get("license") if info.card_data else None
    return named if isinstance(named, str) and named.isprintable() else None


def source_files(at: RepoRevision, info: "ModelInfo") -> tuple[SourceFile, ...]:
    """The files of a checkpoint at the top of a repository, sorted by path.

    Raises:
        BadCheckpoint: a file is listed twice, or under a name that is not plain.
        ServiceUnavailable: a size or a digest cannot be one.
    """
    named = [(str(sibling.rfilename), sibling) for sibling in info.siblings or ()]
    # A manifest there is about the bytes of whoever uploaded it, and ours would take its place.
    at_top = [sibling for name, sibling in named if "/" not in name and belongs(name) and name != MANIFEST]
    files = sorted((_source_file(at, sibling) for sibling in at_top), key=lambda file: file.path)
    if len({file.path for file in files}) < len(files):
        raise BadCheckpoint(f"{at} lists a file twice", hint="do not use this checkpoint")
    return tuple(files)


def pickles_of(info: "ModelInfo") -> tuple[str, ...]:
    """Names of pickled weights at the top of a repository."""
    names = [str(sibling.rfilename) for sibling in info.siblings or ()]
    return tuple(sorted(name for name in names if "/" not in name and name.endswith(PICKLE_SUFFIXES)))


def _source_file(at: RepoRevision, sibling: "RepoSibling") -> SourceFile:
    """What the hub says of a file. One in LFS has a sha256, and the git blob is only a pointer to it."""
    path = check_path(sibling.rfilename, str(at))
    size = sibling.lfs.size if sibling.lfs else sibling.size
    sha256, blob = (sibling.lfs.sha256, None) if sibling.lfs else (None, sibling.blob_id)
    if not isinstance(size, int) or size < 0:
        raise not_a_hub(at, f"the size {size!r} for {path}")
    if not (_SHA256.fullmatch(str(sha256)) or _SHA1.fullmatch(str(blob))):
        raise not_a_hub(at, f"the digest {sha256 or blob!r} for {path}")
    return SourceFile(path=path, size=size, sha256=sha256, git_blob=blob)


def list_hub(repo: str, path: str, query: Mapping[str, str | list[str]], what: str) -> Iterator[Any]:
    """Read a list of the hub's API, page after page: JSON that is still to be checked.

    Args:
        repo: The repository, or the account, that it is about.
        path: The path of the list below `/api/models`.
        query: The query of the first page; the hub's own links lead to the others.
        what: What is listed, for messages.

    Raises:
        BadReference: there is no such list, or it may not be read.
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """
    at = RepoRevision(endpoint=hub_endpoint(), repo=repo, revision="")
    url, seen = f"{at.endpoint}/api/models{path}?{urlencode(query, doseq=True)}", set[str]()
    while url:
        if url in seen or not url.startswith(f"{at.endpoint}/"):  # the token is for this hub alone
            raise not_a_hub(at, "a list that leads elsewhere, or in circles")
        seen.add(url)
        page, url = retried(at, what, lambda url=url: _page(url))  # type: ignore[misc]
        if not isinstance(page, list | dict):
            raise not_a_hub(at, "a list that is none")
        yield from page if isinstance(page, list) else [page]


def _page(url: str) -> tuple[Any, str]:
    """One page, and the address of the next, empty after the last."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    response = get_session().get(url, headers=hub_headers(), timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    try:
        hf_raise_for_status(response)
        return response.json(), str(response.links.get("next", {}).get("url", ""))
    except (AttributeError, TypeError, ValueError):
        raise BadHubAnswer(f"HTTP {response.status_code} without the JSON of a list") from None


def read_range(at: RepoRevision, path: str, start: int, buffer: memoryview, size: int) -> None:
    """Fill `buffer` with the bytes of a file of `size` bytes from `start`.

    Raises:
        BadReference: the file may not be read, or is gone.
        ServiceUnavailable: the hub does not give these bytes, and no others, after some tries.
    """
    wanted = f"bytes {start}-{start + len(buffer) - 1} of {path} of {at}"
    retried(at, wanted, lambda: _read_range(at, path, start, buffer, size))


def _read_range(at: RepoRevision, path: str, start: int, buffer: memoryview, size: int) -> None:
    with _answer(at, path, start, start + len(buffer)) as response:
        if _first_byte(response, start, start + len(buffer), size) != start:
            raise BadHubAnswer(f"it sends the whole of {path} where a range was asked for")
        filled = 0
        for piece in _exactly(response, len(buffer)):
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)


@contextmanager
def _answer(at: RepoRevision, path: str, start: int, end: int) -> Iterator["Response"]:
    """The hub's answer to a request for the bytes from `start` up to, not including, `end`."""
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(at.repo, path, revision=at.revision, endpoint=at.endpoint)
    # A compressed answer has neither the file's offsets nor its size, and the hub then ignores the range.
    headers = hub_headers() | {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
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
                raise BadHubAnswer(f"it redirects {path} to a link-local address")
            response = session.send(response.next_request, stream=True, follow_redirects=False)
            answers.callback(response.close)
        try:
            hf_raise_for_status(response)
        except (AttributeError, TypeError, ValueError):
            # The client reads the body of a refusal for a message, and expects a JSON object.
            raise BadHubAnswer(f"HTTP {response.status_code} for {path}") from None
        yield response


def _first_byte(response: "Response", start: int, end: int, size: int) -> int:
    """Where in the file the body begins: at `start`, or at 0 where the hub ignored the range.

    Raises:
        BadHubAnswer: it is another range, or of a file of another size, or compressed.
    """
    given = response.headers.get("Content-Range", "")
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.status_code == 200 and encoding == "identity":
        return 0
    if response.status_code == 206 and encoding == "identity" and given == f"bytes {start}-{end - 1}/{size}":
        return start
    answer = f"HTTP {response.status_code}, {encoding[:20]}, {given[:80]!r}"
    raise BadHubAnswer(f"asked for bytes {start}-{end - 1}/{size}, given {answer}")


def _exactly(response: "Response", length: int) -> Iterator[bytes]:
    """Pieces of a body that must hold `length` bytes, and never more than those, and must come fast enough."""
    left, pace = length, MinimumThroughput()
    for piece in response.iter_raw():
        if len(piece) > left:
            raise BadHubAnswer(f"more than the {length} bytes asked for")
        left -= len(piece)
        yield piece
        if left and pace.is_too_slow(len(piece)):
            raise BadHubAnswer(f"{length - left} of {length} bytes, and then slower than {MIN_BYTES_PER_S} bytes/s")
    if left:
        raise BadHubAnswer(f"{left} fewer than the {length} bytes asked for")
