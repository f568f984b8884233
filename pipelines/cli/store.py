"""`recycle store`: what the checkpoint store holds, whether it is still sound, and what in it nobody needs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.checkpoints import Checkpoint, verify
from components.errors import BadCheckpoint, BadReference, RecycleError
from components.store import Garbage, Store
from components.system import human_bytes, printable, text_table, thread_pool

SHORT = 12
"""Characters of a digest in tables."""
THREADS = 8
ORIGINS = {"hub": ("repo", "revision"), "folder": ("path",), "s3": ("uri",), "demo": ("release",)}
"""The fields of an origin that are shown, by its kind."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The checkpoints of a store, and who refers to whom."""

    store: Store
    checkpoints: dict[str, Checkpoint]
    """By digest."""
    damaged: dict[str, BadCheckpoint | BadReference]
    """Why a manifest cannot be read, by the digest under which it is stored."""

    @classmethod
    def of(cls, store: Store) -> "Contents":
        """Read every manifest."""
        found: dict[str, Checkpoint] = {}
        damaged: dict[str, BadCheckpoint | BadReference] = {}
        with thread_pool(THREADS, "manifests") as pool:
            for digest, result in pool.map(lambda digest: (digest, _read(store, digest)), store.digests()):
                if isinstance(result, Checkpoint):
                    found[digest] = result
                elif result is not None:
                    damaged[digest] = result
        by_name = sorted(found.values(), key=lambda checkpoint: (checkpoint.name, checkpoint.digest))
        return cls(store=store, checkpoints={entry.digest: entry for entry in by_name}, damaged=damaged)

    def chosen(self, start: str) -> Checkpoint:
        """The checkpoint whose digest starts with `start`.

        Raises:
            BadReference: none does, or several do, or its manifest cannot be read.
            BadCheckpoint: its manifest is damaged.
        """
        digests = [digest for digest in (*self.checkpoints, *self.damaged) if digest.startswith(start.lower())]
        if len(digests) != 1 or not start:
            some = ", ".join(digest[:SHORT] for digest in digests[:3])
            raise BadReference(
                f"{start[:80]!r} matches the digests of {len(digests) or 'no'} checkpoints in {self.store.uri}"
                + (f" ({some}, …)" if some else ""),
                hint="give more characters of the digest" if some else "give a digest that `recycle store ls` shows",
            )
        if digests[0] in self.damaged:
            raise self.damaged[digests[0]]
        return self.checkpoints[digests[0]]

    def children(self, digest: str) -> list[Checkpoint]:
        """The checkpoints that were made from the one with this digest."""
        return [entry for entry in self.checkpoints.values() if digest in parents_of(entry).values()]

    def name(self, digest: str) -> str:
        """The name and short digest of a checkpoint, for people."""
        known = self.checkpoints.get(digest)
        return f"{known.name} ({digest[:SHORT]})" if known else f"{digest[:SHORT]}, not in this store"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What reading every byte of a checkpoint showed."""

    digest: str
    name: str
    problem: str
    """What is wrong with it, empty where nothing is."""


def verify_in_store(contents: Contents, digests: Sequence[str]) -> list[Verdict]:
    """Read every byte of the checkpoints whose digests begin so, or of all where none is given.

    Raises:
        BadReference: no checkpoint's digest begins so, or several do.
    """
    damaged = [] if digests else list(contents.damaged.items())
    chosen = [contents.chosen(start) for start in digests] if digests else contents.checkpoints.values()
    verdicts = [Verdict(digest=digest, name="?", problem=error.problem) for digest, error in damaged]
    return verdicts + [_judge(contents.store, checkpoint) for checkpoint in chosen]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A piece of garbage and what became of it."""

    garbage: Garbage
    removed: bool | None
    """None where it was only listed; False where it came into use meanwhile, or could not be removed."""
    problem: str
    """Why it could not be removed; empty where it was."""


def collect(store: Store, older_than: timedelta, *, delete: bool) -> list[Collected]:
    """Find what no manifest refers to, largest first; with `delete` remove it, and go on where that fails."""
    found = store.garbage(datetime.now(UTC) - older_than)
    found.sort(key=lambda garbage: (-garbage.size, garbage.location))
    return [_removed(garbage) if delete else Collected(garbage=garbage, removed=None, problem="") for garbage in found]


def facts(contents: Contents, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as one JSON object."""
    return {
        "name": checkpoint.name,
        "digest": checkpoint.digest,
        "uri": checkpoint.uri,
        "bytes": size_of(checkpoint),
        "architecture": checkpoint.architecture,
        "dtype": checkpoint.dtype,
        "parameters": checkpoint.parameters,
        "origin": checkpoint.origin,
        "parents": parents_of(checkpoint),
        "children": [child.digest for child in contents.children(checkpoint.digest)],
    }


def garbage_facts(collected: Collected) -> dict[str, Any]:
    """A piece of garbage as one JSON object."""
    garbage = collected.garbage
    return {
        "location": garbage.location,
        "reason": garbage.reason,
        "bytes": garbage.size,
        "modified": garbage.modified.isoformat(),
        "removed": collected.removed,
        "problem": collected.problem or None,
    }


def size_of(checkpoint: Checkpoint) -> int:
    """Bytes of a checkpoint's files."""
    return sum(file.size for file in checkpoint.files)


def _removed(garbage: Garbage) -> Collected:
    try:
        return Collected(garbage=garbage, removed=garbage.remove(), problem="")
    except RecycleError as error:
        return Collected(garbage=garbage, removed=False, problem=error.problem)


def _read(store: Store, digest: str) -> Checkpoint | BadCheckpoint | BadReference | None:
    try:
        return store.manifest(digest)
    except (BadCheckpoint, BadReference) as error:
        return error


def _judge(store: Store, checkpoint: Checkpoint) -> Verdict:
    problem = ""
    try:
        source = store.source(checkpoint)
        if source is None:
            problem = checkpoint.missing_error().problem
        else:
            verify(source)
    except (BadCheckpoint, BadReference) as error:
        problem = error.problem
    return Verdict(digest=checkpoint.digest, name=checkpoint.name, problem=problem)


def parents_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Digests of what a checkpoint was made from, by role."""
    return checkpoint.derivation.parents if checkpoint.derivation else {}


def listing(contents: Contents) -> str:
    """A table of a store's checkpoints."""
    rows = [("name", "digest", "size", "dtype", "parameters", "made from", "used by", "origin")]
    for checkpoint in contents.checkpoints.values():
        rows.append(
            (
                checkpoint.name,
                checkpoint.digest[:SHORT],
                human_bytes(size_of(checkpoint)),
                checkpoint.dtype,
                f"{checkpoint.parameters:,}",
                _shortly(parents_of(checkpoint).values()),
                _shortly(child.digest for child in contents.children(checkpoint.digest)),
                _origin(checkpoint),
            )
        )
    total = human_bytes(sum(size_of(checkpoint) for checkpoint in contents.checkpoints.values()))
    count = len(contents.checkpoints)
    return f"{text_table(rows, right=(2, 4))}\n{count} checkpoints, {total}, in {contents.store.uri}"


def description(contents: Contents, checkpoint: Checkpoint) -> str:
    """One checkpoint in full: its fields, then its files."""
    made = checkpoint.derivation
    pairs = [
        ("name", checkpoint.name),
        ("digest", checkpoint.digest),
        ("location", checkpoint.uri),
        ("size", f"{human_bytes(size_of(checkpoint))} in {len(checkpoint.files)} files"),
        ("architecture", checkpoint.architecture),
        ("parameters", ", ".join(f"{count:,} {dtype}" for dtype, count in checkpoint.dtypes.items())),
        *((f"origin {key}", value) for key, value in checkpoint.origin.items()),
        *([("made by", f"{made.method}, {made.software}")] if made else []),
        *((f"made from {role}", contents.name(digest)) for role, digest in parents_of(checkpoint).items()),
        *((f"made with {key}", value) for key, value in (made.settings if made else {}).items()),
        *(("used by", contents.name(child.digest)) for child in contents.children(checkpoint.digest)),
    ]
    files = [(file.path, human_bytes(file.size), file.sha256) for file in checkpoint.files]
    return f"{text_table(pairs)}\n\n{text_table([('file', 'size', 'sha256'), *files], right=(1,))}"


def verdicts_text(verdicts: Sequence[Verdict]) -> str:
    """A table of what `verify` found."""
    rows = [(one.name, one.digest[:SHORT], "DAMAGED" if one.problem else "ok", one.problem) for one in verdicts]
    damaged = sum(1 for one in verdicts if one.problem)
    return (
        f"{text_table([('name', 'digest', 'state', ''), *rows])}\n{len(verdicts)} checkpoints read, {damaged} damaged."
    )


def garbage_text(collected: Sequence[Collected], store: str, *, delete: bool) -> str:
    """A table of what `gc` found, and of what it removed."""
    if not collected:
        return f"{store} holds nothing that can be removed."
    states = {None: "removable", True: "removed", False: "kept, in use"}
    rows = [
        (
            human_bytes(one.garbage.size),
            "FAILED" if one.problem else states[one.removed],
            one.garbage.reason,
            one.garbage.location,
        )
        for one in collected
    ]
    gone = [one for one in collected if one.removed is not False]
    size = human_bytes(sum(one.garbage.size for one in gone))
    done = f"{len(gone)} removed, {size}." if delete else f"{len(gone)} can be removed, {size}: add --delete."
    failed = [printable(f"Not removed: {one.problem}") for one in collected if one.problem]
    return "\n".join([text_table(rows, right=(0,)), *failed, done])


def _shortly(digests: Iterable[str]) -> str:
    return " ".join(digest[:SHORT] for digest in dict.fromkeys(digests)) or "-"


def _origin(checkpoint: Checkpoint) -> str:
    origin = defaultdict(str, checkpoint.origin)
    shown = [origin[key] for key in ORIGINS.get(origin["kind"], ()) if origin[key]]
    return f"{origin['kind']}:{'@'.join(shown)}" if origin["kind"] else "-"
