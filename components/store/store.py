"""The checkpoint store: a checkpoint's files under the digest of their content, complete or not there at all."""

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from components import settings
from components.checkpoints import Checkpoint, Source
from components.errors import BadParameter
from components.s3 import Bucket
from components.store.folder.store import FolderStore
from components.store.garbage import Garbage
from components.store.s3.store import S3Store
from components.store.writer import CheckpointWriter

Result = TypeVar("Result")
Document = TypeVar("Document", bound=BaseModel)

log = logging.getLogger(__name__)


class Store(Protocol):
    """Where checkpoints are kept."""

    @property
    def uri(self) -> str:
        """Its root."""

    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it.

        Raises:
            BadCheckpoint: it is damaged.
        """

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it; one whose manifest is damaged is made again."""

    def find_complete(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has all of its files in their sizes."""

    def source(self, checkpoint: Checkpoint) -> Source | None:
        """Where a checkpoint's files can be read, None where the store does not have them."""

    def local(self, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
        """A checkpoint's files in a folder of this machine, for programs that need them there."""

    def get_or_create(self, key: str, find: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find work that was done before, or do it in a folder of this machine (see `system.get_or_create`)."""

    def writer(self, work: Path) -> CheckpointWriter:
        """The draft of what is made in `work`, a folder that `get_or_create` gave: the same one for the same work."""

    def publish(self, work: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the draft of `work` visible under its digest, and return the manifest with its place.

        Of several with one content, the first stands, and gets back what files it lost meanwhile.
        """

    def publish_folder(self, folder: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Make the files of a folder, which is in one that `get_or_create` gave, visible under their digest."""

    def get(self, kind: str, key: str) -> str | None:
        """What `put` kept."""

    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""

    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old`, None for nothing; tell whether it was.

        Of several that swap the same `old`, one succeeds. `new` must be like nobody else's: by that a write whose
        answer was lost is known for one's own.
        """

    def get_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was remembered, if it is still there, whole."""

    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had: `find` tells."""

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint of the store."""

    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use, as far as can be told."""


def open_store() -> Store:
    """The store that RECYCLE_STORE names.

    Raises:
        BadParameter: it is of a kind this version does not have.
        BadReference: it is no address in a bucket.
    """
    uri = settings.store_uri()
    if uri.startswith("s3://"):
        return S3Store(Bucket.at(uri))
    scheme = re.match(r"[A-Za-z][\w+.-]*://", uri)
    if scheme and not uri.startswith("file://"):
        raise BadParameter(  # without the rest, which may hold a password
            f"RECYCLE_STORE begins with {scheme[0]!r}; checkpoints are kept in folders and in buckets",
            hint="name a folder, or s3://bucket/prefix",
        )
    return FolderStore(root=Path(unquote(uri.removeprefix("file://")) if scheme else uri).expanduser().absolute())


def get_document(store: Store, kind: str, key: str, model: type[Document]) -> Document | None:
    """What `put` kept, read as a `model`; where it is none a warning and None, so that it is made again."""
    text = store.get(kind, key)
    try:
        return model.model_validate_json(text) if text is not None else None
    except ValidationError as error:
        first = error.errors()[0]
        log.warning(
            "%s/results/%s/%s is damaged (%s: %s); it is taken for absent",
            store.uri,
            kind,
            key,
            ".".join(map(str, first["loc"])) or "all of it",
            first["msg"],
        )
        return None
