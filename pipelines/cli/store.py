"""`recycle store`: what the checkpoint store holds, whether it is still sound, and what in it nobody needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.checkpoints import Checkpoint, verify
from components.errors import BadCheckpoint, BadReference, RecycleError
from components.store import Garbage, Store
from components.system import thread_pool

SHORT = 12
"""Characters of a digest that people are shown."""
THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The checkpoints of a store, and who refers to whom."""

    store: Store
    checkpoints: dict[str, Checkpoint]
    """By digest."""
    damaged: dict[str, BadCheckpoint | BadReference]
    """Why a manifest cannot be read, by the digest it should have."""

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
                f"{start[:80]!r} begins the digests of {len(digests)} checkpoints in {self.store.uri}"
                + (f" ({some}, …)" if some else ""),
                hint="give more of the digest" if some else "give a digest that `recycle store ls` shows",
            )
        if digests[0] in self.damaged:
            raise self.damaged[digests[0]]
        return self.checkpoints[digests[0]]

    def children(self, digest: str) -> list[Checkpoint]:
        """Those that were made from a checkpoint."""
        return [entry for entry in self.checkpoints.values() if digest in parents_of(entry).values()]

    def name(self, digest: str) -> str:
        """A checkpoint as people are shown it."""
        known = self.checkpoints.get(digest)
        return f"{known.name} ({digest[:SHORT]})" if known else f"{digest[:SHORT]}, not in this store"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What reading every byte of a checkpoint showed."""

    digest: str
    name: str
    problem: str
    """Empty where there is none."""


def verify_in_store(contents: Contents, digests: Sequence[str]) -> list[Verdict]:
    """Read every byte of the checkpoints whose digests begin so, or of all where none is given.

    Raises:
        BadReference: a beginning is of no checkpoint, or of several.
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
    """None where nothing was to be removed, False where it came into use meanwhile, or could not be removed."""
    problem: str
    """Why it could not be; empty where it could."""


def collect(store: Store, older_than: timedelta, *, delete: bool) -> list[Collected]:
    """Find what no manifest names, the largest first, and remove it if `delete` says so; go on where one cannot be."""
    found = store.garbage(datetime.now(UTC) - older_than)
    found.sort(key=lambda garbage: (-garbage.size, garbage.location))
    return [_removed(garbage) if delete else Collected(garbage=garbage, removed=None, problem="") for garbage in found]


def facts(contents: Contents, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint for machines."""
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
    """A piece of garbage for machines."""
    garbage = collected.garbage
    return {
        "place": garbage.location,
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
