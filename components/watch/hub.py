"""Where releases appear on the hub: branches and tags of a repository, or the models of an account.

The shapes of the answers are those that the hub's own client reads:
https://github.com/huggingface/huggingface_hub/blob/v2.4.0/src/huggingface_hub/hf_api.py (`list_repo_refs`,
`list_models`, `list_repo_commits`). References come without dates, models with the one of their last commit.
"""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from components.errors import ServiceUnavailable
from components.sources import list_hub
from components.watch.ledger import ListedRelease

PAGE = "1000"
"""Models; the hub gives no more at once."""
log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[\w.+=,@/-]{1,250}", re.ASCII)


def revisions(repo: str, pattern: str) -> list[ListedRelease]:
    """The branches and tags of a repository whose name matches; a branch of a tag's name wins.

    Raises:
        BadReference: there is no such repository, or it may not be read.
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """

    def read(answer: dict[str, Any]) -> Iterator[ListedRelease]:
        for ref in [*answer["tags"], *answer["branches"]]:
            name, commit = _text(ref["name"]), ref["targetCommit"]
            if fnmatchcase(name, pattern) and _can_be_named(name, commit):
                yield ListedRelease(name=f"{repo}@{name}", reference=f"{repo}@{_commit(commit)}", state=commit)

    answers = list_hub(repo, f"/{repo}/refs", {}, f"the branches and tags of {repo}")
    return list({one.name: one for one in _read(repo, answers, read)}.values())


def models(account: str, pattern: str, tag: str) -> list[ListedRelease]:
    """The models of an account whose name matches, and that have a tag where one is given.

    Raises:
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """

    def read(model: dict[str, Any]) -> Iterator[ListedRelease]:
        repo, commit = _text(model["id"]), model["sha"]
        if fnmatchcase(repo, f"{account}/{pattern}") and _can_be_named(repo, commit):
            appeared = _moment(model["lastModified"])
            yield ListedRelease(name=repo, reference=f"{repo}@{_commit(commit)}", state=commit, appeared=appeared)

    query: dict[str, str | list[str]] = {"author": account, "sort": "lastModified", "limit": PAGE}
    query |= {"expand": ["sha", "lastModified"]} | ({"filter": tag} if tag else {})
    answers = list_hub(account, "", query, f"the models of {account}")
    return list({one.name: one for one in _read(account, answers, read)}.values())


def date_of(one: ListedRelease) -> int | None:
    """When the commit was made that a branch or a tag points to, None where the hub does not say.

    Raises:
        ServiceUnavailable: the hub does not answer, or not as the hub does.
    """
    repo, _, commit = one.reference.partition("@")
    answers = list_hub(repo, f"/{repo}/commits/{quote(commit, safe='')}", {"limit": "1"}, f"the commits of {one.name}")

    def read(found: dict[str, Any]) -> Iterator[int]:
        if found["id"] == commit:
            yield _moment(found["date"])

    return next(_read(repo, answers, read), None)


def _read(about: str, answers: Iterator[Any], read: Callable[[dict[str, Any]], Iterator[Any]]) -> Iterator[Any]:
    try:
        for answer in answers:
            yield from read(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServiceUnavailable(
            f"what the hub lists of {about} cannot be read ({type(error).__name__}: {str(error)[:100]})",
            hint="check HF_ENDPOINT and the proxies; if they are right, try again later",
        ) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the name {str(value)[:60]!r}")
    return value


def _can_be_named(name: str, commit: object) -> bool:
    """Whether a reference can lead there; one odd name, or an empty repository, does not hide the others."""
    if _NAME.fullmatch(name) and commit is not None:
        return True
    log.warning("left out: %s", f"{name[:60]!a}, which has no commit" if commit is None else f"the name {name[:60]!a}")
    return False


def _commit(value: object) -> str:
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise ValueError(f"the commit {str(value)[:60]!r}")
    return value


def _moment(value: str) -> int:
    return int(datetime.fromisoformat(value).timestamp())
