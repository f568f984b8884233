"""A repository of the hub at a revision, and with which token the hub is asked."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from components import __version__
from components.errors import BadParameter, BadReference
from components.system import is_link_local

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@/-]{0,254}")
_NOT_IN_REVISION = re.compile(r"\.\.|//|/\.|/-|@\{|(\.lock|\.|/)(/|$)")


@dataclass(frozen=True, kw_only=True)
class RepoRevision:
    """A revision of a repository of one hub, as errors name it."""

    endpoint: str
    repo: str
    revision: str
    """Empty where the repository, or an account, is meant as a whole."""

    @classmethod
    def parse(cls, reference: str) -> "RepoRevision":
        """Read `repo@revision`, or `repo` for its `main`.

        Raises:
            BadReference: it cannot be the name of a repository, or of a revision.
            BadParameter: `HF_ENDPOINT` or `HF_TOKEN` cannot be one.
        """
        repo, at, revision = reference.partition("@")
        if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git"):
            raise BadReference(
                f"{repo!r} cannot be the name of a repository of the hub",
                hint="give owner/name or owner/name@revision, as the hub's page of the model shows it",
            )
        revision = revision if at else "main"
        if not is_revision(revision) or _NOT_IN_REVISION.search(revision):
            raise BadReference(
                f"{revision!r} cannot be a revision of {repo}", hint="give a branch, a tag or a commit after the @"
            )
        return cls(endpoint=hub_endpoint(), repo=repo, revision=revision)

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo

    @property
    def site(self) -> str:
        """The hub without the password that a URL can hold."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_revision(name: str) -> bool:
    """Whether a branch or tag has only characters that git allows and a URL can carry."""
    return _REVISION.fullmatch(name) is not None


def hub_endpoint() -> str:
    """The hub to use: the client reads `HF_ENDPOINT` when it is imported, we when a checkpoint is opened.

    Raises:
        BadParameter: `HF_ENDPOINT` or `HF_TOKEN` cannot be one.
    """
    from huggingface_hub import constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    if not re.fullmatch(r"https?://[\w.:@\[\]%~+-]+(/[\w./-]*)?", endpoint, re.ASCII):
        raise BadParameter("HF_ENDPOINT is not the address of a hub", hint="set it to https://… or unset it")
    if is_link_local(urlsplit(endpoint).hostname or ""):
        raise BadParameter("HF_ENDPOINT is a link-local address", hint="set it to the hub's, or unset it")
    # The client's message for a header that cannot be sent would show it.
    if not re.fullmatch(r"[\x21-\x7e]*", hub_token()):
        raise BadParameter("HF_TOKEN holds characters that no token has", hint="set it again, or unset it")
    return endpoint


def hub_headers() -> dict[str, str]:
    """The headers of every request: who asks, and the token if there is one."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(library_name="recycle", library_version=__version__)
    return headers


def hub_token() -> str:
    """The token of `HF_TOKEN` or `hf auth login`, empty without one."""
    return hub_headers().get("authorization", "").removeprefix("Bearer ")
