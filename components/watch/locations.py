"""Where releases appear: branches and tags, models of an account, folders, prefixes of a bucket, the demo."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from components.checkpoints import MANIFEST, belongs, digest_of, is_plain
from components.errors import BadParameter
from components.references import DEMO_PREFIX
from components.s3 import Bucket
from components.system import reading_errors
from components.watch.ledger import ListedRelease

HUB_PREFIX = "hub:"
CONFIG = "config.json"
HINT = (
    "write hub:owner/name@PATTERN for branches and tags, hub:owner/PATTERN or hub:owner/PATTERN,base_model:owner/name "
    "for models, a folder, s3://bucket/prefix, or demo:PATTERN"
)
_REVISIONS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<pattern>\S+)", re.ASCII)
_MODELS = re.compile(r"(?P<account>[\w.-]+)/(?P<pattern>[\w.*?!\[\]-]+)(,(?P<tag>[\w.:/-]+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where releases appear."""

    listed: Callable[[], list[ListedRelease]]
    """Everything that is there now."""
    date_of: Callable[[ListedRelease], int | None] = lambda one: one.appeared
    """When something appeared whose date the list does not have; it may cost a request."""


def open_location(releases: str) -> Location:
    """The location that the parameter `releases` names; nothing is looked at yet.

    Raises:
        BadParameter: it names none.
        BadReference: it is not an address in a bucket.
    """
    if releases.startswith(HUB_PREFIX):
        return _on_hub(releases.removeprefix(HUB_PREFIX))
    if releases.startswith(DEMO_PREFIX):
        return Location(listed=lambda: _demo(releases.removeprefix(DEMO_PREFIX)))
    if releases.startswith("s3://"):
        bucket = Bucket.at(releases)
        return Location(listed=lambda: list(_prefixes(bucket)))
    if not releases or "://" in releases:
        raise BadParameter(f"releases is {releases[:300]!r}, which names no place where releases appear", hint=HINT)
    return Location(listed=lambda: list(_folders(Path(releases).expanduser().absolute())))


def _on_hub(text: str) -> Location:
    from components.watch import hub as hub

    branches, models = _REVISIONS.fullmatch(text), _MODELS.fullmatch(text)
    if branches:
        return Location(listed=lambda: hub.revisions(branches["repo"], branches["pattern"]), date_of=hub.date_of)
    if models:
        return Location(listed=lambda: hub.models(models["account"], models["pattern"], models["tag"] or ""))
    raise BadParameter(f"releases is {HUB_PREFIX}{text[:300]}, which names nothing on the hub", hint=HINT)


def _demo(pattern: str) -> list[ListedRelease]:
    from components.demo import BASES

    return [
        ListedRelease(name=f"{DEMO_PREFIX}{name}", reference=f"{DEMO_PREFIX}{name}", state=name, appeared=number)
        for number, name in enumerate(BASES, start=1)
        if fnmatchcase(name, pattern)
    ]


def _folders(parent: Path) -> Iterator[ListedRelease]:
    """The checkpoints directly in a folder. A missing folder is an error: an unmounted disk is not an empty folder."""
    with reading_errors(parent):
        children = sorted(entry.path for entry in os.scandir(parent) if not entry.name.startswith("."))
    for path in children:
        files = _stats(path)
        if CONFIG in files:
            yield ListedRelease(
                name=path,
                reference=path,
                state=digest_of([[name, *stat[:3]] for name, stat in sorted(files.items())]),
                appeared=files[CONFIG][2] // 10**9,
            )


def _stats(folder: str) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of change of a checkpoint's files, and of the manifest beside them."""
    try:
        entries = list(os.scandir(folder))
        stats = {entry.name: entry.stat() for entry in entries if _is_file(entry.name) and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}  # removed meanwhile, a file, or somebody else's
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def _prefixes(bucket: Bucket) -> Iterator[ListedRelease]:
    """The checkpoints directly below a prefix, from one list of all objects."""
    found: dict[str, dict[str, list[object]]] = {}
    moments: dict[str, int] = {}
    for entry in bucket.objects():
        folder, slash, name = entry.key.partition("/")
        if slash and _is_file(name):
            found.setdefault(folder, {})[name] = [name, entry.size, entry.etag]
            if name == CONFIG:
                moments[folder] = int(entry.modified.timestamp())
    for folder, moment in moments.items():
        uri = bucket.under(folder).uri
        yield ListedRelease(name=uri, reference=uri, state=digest_of(sorted(found[folder].values())), appeared=moment)


def _is_file(name: str) -> bool:
    return "/" not in name and is_plain(name) and (belongs(name) or name == MANIFEST)
