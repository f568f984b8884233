"""The manifest of a checkpoint where it lies, made by reading its bytes once."""

from components.checkpoint import Checkpoint, File, describe
from components.copying import digest_of_file
from components.errors import BadCheckpoint, DigestMismatch
from components.layout import Layout, read_layout
from components.progress import Progress
from components.source import Source


def identify(layout: Layout) -> Checkpoint:
    """Describe a checkpoint by reading every byte of it.

    Raises:
        DigestMismatch: a file is not what the manifest beside it says.
    """
    source = layout.source
    with Progress(f"reading {source.name}", sum(file.size for file in layout.files)) as progress:
        digests = {file.path: digest_of_file(source, file.path, file.size, progress.advance) for file in layout.files}
    return described(layout, digests)


def described(layout: Layout, digests: dict[str, str]) -> Checkpoint:
    """Describe a checkpoint whose files came to these digests.

    Raises:
        DigestMismatch: a file is not what the manifest beside it says.
    """
    source = layout.source
    for file in layout.files:
        if file.sha256 is not None:
            check_digest(f"{source.reference}/{file.path}", file.sha256, digests[file.path])
    return describe(
        layout,
        name=source.name,
        uri=source.uri,
        files=tuple(File(path=file.path, size=file.size, sha256=digests[file.path]) for file in layout.files),
        origin=source.origin,
        derivation=source.manifest.derivation if source.manifest else None,
    )


def verify(source: Source) -> Checkpoint:
    """Read every byte of a checkpoint (see `identify`)."""
    return identify(read_layout(source))


def check_at_rest(layout: Layout) -> None:
    """Make sure that nobody changed a checkpoint since its layout was read.

    Raises:
        BadCheckpoint: somebody did.
    """
    if not set(layout.files) <= set(layout.source.files()):
        raise BadCheckpoint(
            f"{layout.source.reference} was changed while it was being read",
            do="run the same command again when it is at rest",
        )


def check_digest(place: str, expected: str, found: str) -> None:
    """Compare two digests of a file.

    Raises:
        DigestMismatch: they differ.
    """
    if found != expected:
        raise DigestMismatch(
            f"{place} has the sha256 {found}, but {expected} is recorded for it: its bytes were changed or damaged",
            do="remove it and get or make the checkpoint again",
        )
