"""A checkpoint from where it is into the store: every byte verified, complete or not there at all."""

import hashlib
import json
from pathlib import Path

from components.checkpoint import Checkpoint, File, canonical_json, describe, digest_of
from components.errors import DigestMismatch
from components.folder import FolderSource
from components.identify import check_digest, identify
from components.layout import Layout, read_layout
from components.progress import Progress
from components.reference import open_source
from components.source import Source, SourceFile
from components.store import FolderStore
from components.work import sha256_file, write_durably

TOKENIZER_CONFIG = "tokenizer_config.json"


def save_checkpoint(reference: str, store: FolderStore) -> Checkpoint:
    """Save the checkpoint that `reference` names; free when the store has it.

    Raises:
        RecycleError: the reference cannot be read, the checkpoint is not sound, or bytes differ from their digest.
    """
    source = open_source(reference)
    layout = read_layout(source)
    key, files = _content(layout)
    saved = store.once(
        f"save-{key}",
        lambda: store.recall_checkpoint("saved", key),
        lambda folder: _save(source, files, folder, store, key),
    )
    return saved.model_copy(update={"name": source.name, "origin": source.origin})


def _content(layout: Layout) -> tuple[str, tuple[SourceFile, ...]]:
    """A name for the content at the source, and its files with all that is known of their bytes.

    A hub commit never changes; a folder is known by its bytes alone.
    """
    source = layout.source
    if not isinstance(source, FolderSource):
        return digest_of(source.reference), layout.files
    found = identify(layout, source.path)
    files = tuple(SourceFile(path=file.path, size=file.size, sha256=file.sha256) for file in found.files)
    return found.digest, files


def _save(source: Source, files: tuple[SourceFile, ...], folder: Path, store: FolderStore, key: str) -> Checkpoint:
    with Progress(f"saving {source.name}", sum(file.size for file in files)) as progress:
        kept = {file.path: _fetch(source, file, folder, progress) for file in files}
    if _set_pad_token(folder / TOKENIZER_CONFIG):
        kept[TOKENIZER_CONFIG] = _describe(folder / TOKENIZER_CONFIG, TOKENIZER_CONFIG)
    saved = describe(
        read_layout(FolderSource(path=folder)),
        name=source.name,
        uri="",
        files=tuple(kept.values()),
        origin=source.origin,
    )
    # Remembered first: what is remembered counts only when it is there too, and so is never saved twice.
    store.remember("saved", key, saved.digest)
    return store.publish(folder, saved)


def _fetch(source: Source, file: SourceFile, folder: Path, progress: Progress) -> File:
    final, partial = folder / file.path, folder / f"{file.path}.part"
    if final.is_file():
        try:
            found = _verified(final, file)
        except DigestMismatch:
            final.unlink()  # staged files are not yet made durable: a crash may have left a bad one
        else:
            progress.advance(file.size)
            return found
    source.copy(file, partial, progress.advance)
    try:
        found = _verified(partial, file)
    except DigestMismatch:
        partial.unlink()
        raise
    partial.replace(final)
    return found


def _verified(path: Path, file: SourceFile) -> File:
    """Describe a copied file, after comparing it with what its source records of it."""
    found = _describe(path, file.path)
    if file.sha256 is not None:
        check_digest(path, file.sha256, found.sha256)
    if file.git_blob is not None:
        check_digest(path, file.git_blob, _git_blob(path.read_bytes()))
    if found.size != file.size:
        raise DigestMismatch(
            f"{path} has {found.size} bytes, but its source lists {file.size}",
            do="run the same command again; if it repeats, the source changes while it is read",
        )
    return found


def _describe(path: Path, name: str) -> File:
    return File(path=name, size=path.stat().st_size, sha256=sha256_file(path))


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _set_pad_token(path: Path) -> bool:
    """Give a tokenizer that has no pad token its end-of-text token as one, as the paper's own script does.

    Returns:
        Whether the file was changed.
    """
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    if config.get("eos_token") is None or config.get("pad_token") is not None:
        return False
    write_durably(path, canonical_json(config | {"pad_token": config["eos_token"]}))
    return True
