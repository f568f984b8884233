"""Copying files from a source into a writer: in parallel blocks, verified, going on where an earlier try stopped."""

import hashlib
from collections.abc import Iterable

from components.checkpoints import BLOCK, Advance, File, Source, SourceFile, in_blocks, most_threads, read_block
from components.errors import DigestMismatch
from components.store.writer import CheckpointWriter
from components.system import Progress, thread_pool

MOST_BLOCKS = 9_999
"""S3 allows one part more."""


def copy_files(source: Source, files: Iterable[SourceFile], writer: CheckpointWriter) -> tuple[File, ...]:
    """Copy files, each verified; those that the writer, or its store, has already are not read again.

    Raises:
        DigestMismatch: bytes are not what the source records of them.
        RecycleError: a file cannot be read or written.
    """
    files = tuple(files)
    with Progress(f"saving {source.name}", sum(file.size for file in files)) as progress:
        with thread_pool(most_threads(BLOCK), "files") as pool:
            small = [file for file in files if file.size <= BLOCK]
            kept = {file.path: pool.submit(copy_file, source, file, writer, progress.advance) for file in small}
            done = {path: future.result() for path, future in kept.items()}
        for file in files:
            if file.path not in done:
                done[file.path] = copy_file(source, file, writer, progress.advance)
    return tuple(done[file.path] for file in files)


def copy_file(source: Source, file: SourceFile, writer: CheckpointWriter, advance: Advance) -> File:
    """Copy one file (see `copy_files`)."""
    sha256 = _already_done(file, writer) or _without_reading_the_source(source, file, writer)
    if sha256:
        advance(file.size)
    return File(path=file.path, size=file.size, sha256=sha256 or _copy_bytes(source, file, writer, advance))


def _already_done(file: SourceFile, writer: CheckpointWriter) -> str | None:
    """The sha256 of a file that an earlier try finished, unless the source now records another one."""
    finished = writer.finished(file.path)
    if finished and finished.size == file.size and file.sha256 in (None, finished.sha256):
        return finished.sha256
    return None


def _without_reading_the_source(source: Source, file: SourceFile, writer: CheckpointWriter) -> str | None:
    """The sha256 that the source records of a file, where the writer, or its store, has that content."""
    if file.sha256 is None:
        return None
    if writer.recover(file.path, file.size, file.sha256):
        return file.sha256
    # A manifest beside files that anyone can change does not vouch for them: then they are read.
    if source.manifest is None and writer.adopt(file.path, file.size, file.sha256):
        return file.sha256
    return None


def _copy_bytes(source: Source, file: SourceFile, writer: CheckpointWriter, advance: Advance) -> str:
    """Copy a file block by block, and return its sha256, which is what the source records of it if it does."""
    block = max(BLOCK, -(-file.size // MOST_BLOCKS))
    digests = _Digests(file)

    def move(start: int) -> memoryview:
        data = read_block(source, file.path, start, min(block, file.size - start))
        output.write(start, data)
        return data

    # Blocks of an earlier try are trusted only where a digest will tell: a crash may have lost some.
    with writer.create(file.path, file.size, block=block if file.sha256 else None) as output:
        for start in output.present:
            advance(min(block, file.size - start))
        missing = [start for start in range(0, file.size, block) if start not in output.present]
        in_blocks(missing, move, digests.update, advance, block)
        sha256 = output.read_back() if output.present else digests.sha256.hexdigest()
        try:
            _check(source, file, sha256, digests)
        except DigestMismatch:
            output.discard()  # a rerun must not go on from bytes that are wrong
            raise
        output.finish(sha256)
    return sha256


def write_file(writer: CheckpointWriter, path: str, content: bytes) -> File:
    """Write a small file; one that is there with this content is left."""
    sha256 = hashlib.sha256(content).hexdigest()
    finished = writer.finished(path)
    if finished is None or finished.sha256 != sha256:
        with writer.create(path, len(content)) as output:
            output.write(0, memoryview(content))
            output.finish(sha256)
    return File(path=path, size=len(content), sha256=sha256)


class _Digests:
    """What the source may have recorded of a file: its sha256, or the SHA-1 that git names it by."""

    def __init__(self, file: SourceFile) -> None:
        self.sha256 = hashlib.sha256()
        self.git_blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if file.git_blob else None

    def update(self, data: memoryview) -> None:
        self.sha256.update(data)
        if self.git_blob is not None:
            self.git_blob.update(data)


def _check(source: Source, file: SourceFile, sha256: str, digests: _Digests) -> None:
    found, expected = sha256, file.sha256
    if file.git_blob is not None and digests.git_blob is not None:
        found, expected = digests.git_blob.hexdigest(), file.git_blob
    if expected is not None and found != expected:
        raise DigestMismatch(
            f"{file.path} of {source.reference} came with the digest {found}, but {expected} is recorded for it: "
            "its bytes were changed or damaged on the way",
            hint="run the same command again; if it repeats, the source is damaged",
        )
