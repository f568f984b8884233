"""The manifest of a checkpoint where it lies, made by reading its bytes once."""

import hashlib

from components.checkpoints.blocks import BLOCK, Advance, in_blocks, read_block
from components.checkpoints.digests import digest_of
from components.checkpoints.layout import Layout, read_layout
from components.checkpoints.manifest import Checkpoint, Derivation, File, content_digest
from components.checkpoints.source import Source
from components.errors import BadCheckpoint, DigestMismatch
from components.system import Progress


def describe(
    layout: Layout,
    *,
    name: str,
    files: tuple[File, ...],
    origin: dict[str, str],
    derivation: Derivation | None = None,
) -> Checkpoint:
    """Make the manifest of a checkpoint that lies at the source of its layout.

    Args:
        layout: What its headers and JSON files say.
        name: What people call it.
        files: Its files with their digests.
        origin: Where its bytes came from, empty for what was made here.
        derivation: How it was made from others, if it was.
    """
    shapes = sorted((name, list(tensor.entry.shape)) for name, tensor in layout.tensors.items())
    files = tuple(sorted(files, key=lambda file: file.path))
    return Checkpoint(
        name=name,
        uri=layout.source.uri,
        digest=content_digest(files),
        files=files,
        architecture=layout.architecture,
        parameters=layout.parameters,
        dtypes=layout.dtypes,
        tensors_fingerprint=digest_of(shapes),
        tokenizer_fingerprint=layout.vocabulary.fingerprint if layout.vocabulary else "",
        origin=origin,
        derivation=derivation,
    )


def fingerprint(layout: Layout) -> str:
    """Return a digest that changes when the files may have changed, by what their source knows without reading."""
    # Of a manifest beside files that were changed since, the digests are still the old ones: the version too.
    known = [[file.path, file.size, file.sha256 or file.git_blob, file.version] for file in layout.files]
    return digest_of([layout.source.uri, known])


def digest_of_file(source: Source, path: str, size: int, advance: Advance = lambda done: None) -> str:
    """Return the sha256 of a file, whose blocks are read side by side."""
    sha256 = hashlib.sha256()
    in_blocks(
        range(0, size, BLOCK),
        lambda start: read_block(source, path, start, min(BLOCK, size - start)),
        sha256.update,
        advance,
        BLOCK,
    )
    return sha256.hexdigest()


def identify(layout: Layout, digests: dict[str, str] | None = None) -> Checkpoint:
    """Describe a checkpoint by the digests of all its files.

    Args:
        layout: Of the checkpoint.
        digests: sha256 by path, where every file was read already; without them every byte is read here.

    Raises:
        DigestMismatch: a file is not what the manifest beside it says.
    """
    source = layout.source
    if digests is None:
        with Progress(f"reading {source.name}", sum(file.size for file in layout.files)) as progress:
            digests = {
                file.path: digest_of_file(source, file.path, file.size, progress.advance) for file in layout.files
            }
    for file in layout.files:
        if file.sha256 is not None:
            check_digest(f"{source.reference}/{file.path}", file.sha256, digests[file.path])
    return describe(
        layout,
        name=source.name,
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
            hint="run the same command again when it is at rest",
        )


def check_digest(where: str, expected: str, found: str) -> None:
    """Compare two digests of a file.

    Raises:
        DigestMismatch: they differ.
    """
    if found != expected:
        raise DigestMismatch(
            f"{where} has the sha256 {found}, but {expected} is recorded for it: its bytes were changed or damaged",
            hint="remove it and get or make the checkpoint again",
        )
