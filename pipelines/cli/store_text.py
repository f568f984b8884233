"""What `recycle store` shows to people."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from components.checkpoints import Checkpoint
from components.system import human_bytes, printable, text_table
from pipelines.cli.store import SHORT, Collected, Contents, Verdict, parents_of, size_of

ORIGINS = {"hub": ("repo", "revision"), "folder": ("path",), "s3": ("uri",), "demo": ("release",)}
"""What of an origin is shown, by its kind."""


def listing(contents: Contents) -> str:
    """A store's checkpoints for people."""
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
    """One checkpoint for people."""
    made = checkpoint.derivation
    pairs = [
        ("name", checkpoint.name),
        ("digest", checkpoint.digest),
        ("lies at", checkpoint.uri),
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
    """What `verify` found."""
    rows = [(one.name, one.digest[:SHORT], "DAMAGED" if one.problem else "ok", one.problem) for one in verdicts]
    damaged = sum(1 for one in verdicts if one.problem)
    return (
        f"{text_table([('name', 'digest', 'state', ''), *rows])}\n{len(verdicts)} checkpoints read, {damaged} damaged."
    )


def garbage_text(collected: Sequence[Collected], store: str, *, delete: bool) -> str:
    """What `gc` found, and did."""
    if not collected:
        return f"Nothing in {store} is garbage."
    states = {None: "would be removed", True: "removed", False: "left: it is in use"}
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
