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
    saved = store.recall_checkpoint("saved", key)
    if saved is None:
        with store.staging(f"save-{key}") as folder:
            saved = store.recall_checkpoint("saved", key) or _save(source, files, folder, store, key)
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
        for file in files:
            _fetch(source, file, folder, progress)
    _set_pad_token(folder / TOKENIZER_CONFIG)
    layout = read_layout(FolderSource(path=folder))
    kept = tuple(File(path=file.path, size=file.size, sha256=sha256_file(folder / file.path)) for file in layout.files)
    saved = describe(layout, name=source.name, uri="", files=kept, origin=source.origin)
    # Remembered first: what is remembered counts only when it is there too, and so is never saved twice.
    store.remember("saved", key, saved.digest)
    return store.publish(folder, saved)


def _fetch(source: Source, file: SourceFile, folder: Path, progress: Progress) -> None:
    final, partial = folder / file.path, folder / f"{file.path}.part"
    if final.is_file():
        try:
            _verify(final, file)
        except DigestMismatch:
            final.unlink()  # staged files are not yet made durable: a crash may have left a bad one
        else:
            progress.advance(file.size)
            return
    source.copy(file, partial, progress.advance)
    try:
        _verify(partial, file)
    except DigestMismatch:
        partial.unlink()
        raise
    partial.replace(final)


def _verify(path: Path, file: SourceFile) -> None:
    """Compare a copied file with what its source records of it."""
    if file.sha256 is not None:
        check_digest(path, file.sha256, sha256_file(path))
    if file.git_blob is not None:
        content = path.read_bytes()
        check_digest(path, file.git_blob, _git_blob(content))
    if path.stat().st_size != file.size:
        raise DigestMismatch(
            f"{path} has {path.stat().st_size} bytes, but its source lists {file.size}",
            do="run the same command again; if it repeats, the source changes while it is read",
        )


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _set_pad_token(path: Path) -> None:
    """Give a tokenizer that has no pad token its end-of-text token as one, as the paper's own script does."""
    if not path.is_file():
        return
    config = json.loads(path.read_bytes())
    if config.get("eos_token") is not None and config.get("pad_token") is None:
        write_durably(path, canonical_json(config | {"pad_token": config["eos_token"]}))
