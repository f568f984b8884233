"""What every store can do, wherever it keeps its files."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from components.checkpoints import Checkpoint, Source, or_none_if_damaged
from components.errors import describe_validation
from components.store.garbage import DIGEST, Garbage
from components.store.writer import CheckpointWriter
from components.system import get_or_create

Result = TypeVar("Result")
Document = TypeVar("Document", bound=BaseModel)

logger = logging.getLogger(__name__)


class Store(ABC):
    """Finished checkpoints by the digest of their content, and small documents by kind and key."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Its root: `file://` and a folder, or `s3://bucket/prefix`."""

    @property
    @abstractmethod
    def staging(self) -> Path:
        """The folder of this machine that holds work in progress, a folder for each piece of work."""

    @abstractmethod
    def manifest(self, digest: str) -> Checkpoint | None:
        """The manifest of this digest, if the store has it.

        Raises:
            BadCheckpoint: it is damaged.
            BadReference: it cannot be read.
        """

    @abstractmethod
    def source_of(self, checkpoint: Checkpoint) -> Source:
        """Where the files of a checkpoint that `find` gave can be read."""

    @abstractmethod
    def local(self, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
        """A checkpoint's files in a folder of this machine, for programs that need them there.

        Raises:
            StorageFull: there is no room for a copy.
            BadReference: the store does not have them.
        """

    @abstractmethod
    def writer(self, workdir: Path) -> CheckpointWriter:
        """Write a checkpoint as the result of the work in `workdir`: the same writer for the same work.

        Args:
            workdir: The folder that `get_or_create` gave.
        """

    @abstractmethod
    def publish(self, checkpoint: Checkpoint) -> Checkpoint:
        """Make a checkpoint visible under its digest, and return its manifest with its location from now on.

        Of several with one content the first stands, and gets back the files that it lost meanwhile.

        Args:
            checkpoint: Lies where its URI says: in what a `writer` of this store wrote, or in a folder of this
                machine, which is moved or copied.

        Raises:
            BadCheckpoint: a file that the manifest lists is not there.
            OutputConflict: `recycle store gc` took the unfinished checkpoint for garbage meanwhile.
        """

    @abstractmethod
    def put(self, kind: str, key: str, document: str) -> None:
        """Keep a small document under a key; the last writer wins."""

    @abstractmethod
    def compare_and_swap(self, kind: str, key: str, old: str | None, new: str) -> bool:
        """Keep `new` under a key if what is kept there is still `old`, None for nothing; tell whether it was.

        Of several that swap the same `old`, one succeeds. `new` must be like nobody else's: by that a write whose
        answer was lost is known for one's own.
        """

    @abstractmethod
    def digests(self) -> list[str]:
        """Every digest that the store has a checkpoint of, or had: `find` tells.

        Raises:
            BadReference: the store cannot be read.
        """

    @abstractmethod
    def garbage(self, before: datetime) -> list[Garbage]:
        """What no manifest names, was last written before `before` and is in nobody's use, as far as can be told."""

    @abstractmethod
    def _read(self, kind: str, key: str) -> str | None:
        """The document under a key.

        Raises:
            BadCheckpoint: it is no text.
        """

    def find(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has it; one whose manifest is damaged is made again."""
        return or_none_if_damaged(lambda: self.manifest(digest))

    def find_complete(self, digest: str) -> Checkpoint | None:
        """The checkpoint of this digest, if the store has all of its files in their sizes."""
        found = self.find(digest)
        files = or_none_if_damaged(self.source_of(found).files) if found else None
        return found if files else None

    def source(self, checkpoint: Checkpoint) -> Source | None:
        """Where a checkpoint's files can be read, None where the store does not have them."""
        found = self.find(checkpoint.digest)
        return self.source_of(found) if found else None

    def get(self, kind: str, key: str) -> str | None:
        """The document that `put` kept under a key, None where there is none or it is damaged."""
        return or_none_if_damaged(lambda: self._read(kind, key))

    def get_document(self, kind: str, key: str, model: type[Document]) -> Document | None:
        """The document that `put` kept, read as a `model`; None with a warning where it is not one."""
        text = self.get(kind, key)
        try:
            return model.model_validate_json(text) if text is not None else None
        except ValidationError as error:
            problem = describe_validation(error)
            logger.warning("%s/results/%s/%s is damaged (%s); it is taken for absent", self.uri, kind, key, problem)
            return None

    def get_checkpoint(self, kind: str, key: str) -> Checkpoint | None:
        """The checkpoint whose digest was kept under a key, if it is still there, complete."""
        digest = self.get(kind, key)
        return self.find_complete(digest) if digest and DIGEST.fullmatch(digest) else None

    def get_or_create(self, work: str, find: Callable[[], Result | None], make: Callable[[Path], Result]) -> Result:
        """Find the result of work that was done before, or do it in a folder of this machine.

        Of several processes of this machine that want it at once, one does it. Another machine may do the same at
        the same time: publishing sees to it that one result stands.

        Args:
            work: Names it.
            find: Finds its result, None while there is none.
            make: Does it in a folder, where a rerun goes on, and sees to it that `find` finds the result from then on.
        """
        return get_or_create(self.staging / work, find, make)

    def get_or_create_document(
        self, kind: str, key: str, model: type[Document], make: Callable[[Path], Document]
    ) -> Document:
        """Get a document that was kept under a key, or make it and keep it (see `get_or_create`)."""

        def keep(workdir: Path) -> Document:
            made = make(workdir)
            self.put(kind, key, made.model_dump_json())
            return made

        return self.get_or_create(f"{kind}-{key}", lambda: self.get_document(kind, key, model), keep)

    def get_or_create_checkpoint(self, kind: str, key: str, make: Callable[[Path], Checkpoint]) -> Checkpoint:
        """Get the checkpoint whose digest was kept under a key, or make and publish it (see `get_or_create`)."""
        return self.get_or_create(
            f"{kind}-{key}",
            lambda: self.get_checkpoint(kind, key),
            lambda workdir: self.keep_checkpoint(kind, key, make(workdir)),
        )

    def keep_checkpoint(self, kind: str, key: str, made: Checkpoint) -> Checkpoint:
        """Publish a checkpoint and keep its digest under a key."""
        # The digest first: it counts only where the checkpoint is there too, and so none is ever made twice.
        self.put(kind, key, made.digest)
        return self.publish(made)
