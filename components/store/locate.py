"""From a manifest to the files it names: where it says, or in the store under its digest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.checkpoints import MANIFEST, Checkpoint, Source, or_none_if_damaged
from components.sources import FolderSource, S3Source
from components.store.base import Store
from components.store.store import open_store


def open_checkpoint(checkpoint: Checkpoint) -> Source:
    """Open a checkpoint where its manifest says, or in the store under its digest.

    Raises:
        BadReference: they are at neither.
        BadCheckpoint: the manifest where they should be is damaged, and the store has no other.
    """
    store = open_store()
    source = or_none_if_damaged(lambda: _where_it_says(checkpoint, store)) or store.source(checkpoint)
    return source or _without_manifest(checkpoint, store)


@contextmanager
def local_copy(checkpoint: Checkpoint, store: Store) -> Iterator[Path]:
    """A checkpoint's files in a folder of this machine, for as long as the context lasts.

    Raises:
        BadReference: they cannot be found.
        BadCheckpoint: the manifest where they should be is damaged, and the store has no other.
        StorageFull: there is no room for a copy.
    """
    source = or_none_if_damaged(lambda: _where_it_says(checkpoint, store))
    if source is None and store.find(checkpoint.digest) is None:
        source = _without_manifest(checkpoint, store)
    if isinstance(source, FolderSource):
        yield source.path
    else:
        with store.local(checkpoint) as folder:
            yield folder


def _where_it_says(checkpoint: Checkpoint, store: Store) -> Source | None:
    """The source that a manifest names, if this very checkpoint is there."""
    source: FolderSource | S3Source
    if checkpoint.uri.startswith("file:"):
        source = FolderSource.at(checkpoint.uri)
    # A manifest may come from anyone, and our credentials are for our store.
    elif checkpoint.uri.startswith("s3://") and checkpoint.uri.startswith(f"{store.uri}/"):
        source = S3Source.at(checkpoint.uri)
    else:
        return None
    return source if source.manifest and source.manifest.digest == checkpoint.digest else None


def _without_manifest(checkpoint: Checkpoint, store: Store) -> FolderSource:
    """The folder that a manifest names, where it has no manifest of its own that says otherwise."""
    source = FolderSource.at(checkpoint.uri)
    if checkpoint.uri.startswith("file:") and source.path.is_dir() and not (source.path / MANIFEST).is_file():
        return source
    _where_it_says(checkpoint, store)  # raises what is wrong with a manifest that is there and damaged
    raise checkpoint.missing_error()
