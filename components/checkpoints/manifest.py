"""The checkpoint manifest: the small document that travels between steps in place of the weights."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from components import __version__
from components.checkpoints.digests import canonical_json, digest_of
from components.checkpoints.files import SourceFile, check_path
from components.errors import BadCheckpoint, BadReference, describe_validation

Result = TypeVar("Result")

MANIFEST = "checkpoint.json"

logger = logging.getLogger(__name__)


class File(BaseModel):
    """One file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int
    sha256: str


class Derivation(BaseModel):
    """How a checkpoint was made from others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    """`fine-tuning transfer` or `fine-tuning`."""
    parents: dict[str, str]
    """Digest by role, for example `source base`."""
    settings: dict[str, str]
    """What else decides the bytes: scale, dtype policy, recipe, data digest, …"""
    software: str

    @property
    def key(self) -> str:
        """Names the work: equal keys mean that the same bytes would come out."""
        return digest_of(self.model_dump())


class Checkpoint(BaseModel):
    """A checkpoint manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    uri: str
    """Where the files lie: a `file://` URI of a folder, or `s3://bucket/prefix`."""
    digest: str
    """sha256 over the canonical JSON of the sorted (path, size, sha256) of its files: names the content."""
    files: tuple[File, ...]
    architecture: str
    parameters: int
    dtypes: dict[str, int]
    """Number of elements by dtype, as safetensors spells it."""
    tensors_fingerprint: str
    """sha256 over the sorted (name, shape) of its tensors."""
    tokenizer_fingerprint: str
    """sha256 over its vocabulary, empty without a tokenizer.json."""
    origin: dict[str, str]
    """Where the bytes came from, empty for what was made here."""
    derivation: Derivation | None = None

    @property
    def dtype(self) -> str:
        """The dtype that most elements have."""
        return max(self.dtypes, key=lambda dtype: self.dtypes[dtype])

    @property
    def source_files(self) -> tuple[SourceFile, ...]:
        """Its files as a source lists them.

        Raises:
            BadCheckpoint: a name leads out of the checkpoint.
        """
        return tuple(
            SourceFile(path=check_path(file.path, self.name), size=file.size, sha256=file.sha256) for file in self.files
        )

    def match_files(self, found: Iterable[SourceFile], where: str) -> tuple[SourceFile, ...]:
        """Its files among those found beside the manifest, in `where`, with the digests that it has of them.

        Raises:
            BadCheckpoint: a file is missing or has another size, or its name leads out of the checkpoint.
        """
        there = {file.path: file for file in found}
        for file in self.files:
            if file.path not in there or there[file.path].size != file.size:
                state = f"has {there[file.path].size} bytes" if file.path in there else "is missing"
                raise BadCheckpoint(
                    f"{where} is damaged: {file.path} {state}; the manifest says {file.size} bytes",
                    hint="save or transfer the checkpoint again",
                )
        return tuple(
            SourceFile(
                path=check_path(file.path, where),
                size=file.size,
                sha256=file.sha256,
                version=there[file.path].version,
            )
            for file in self.files
        )

    def moved_to(self, uri: str) -> "Checkpoint":
        """Return the manifest of the same files at another location."""
        return self.model_copy(update={"uri": uri})

    def missing_error(self) -> BadReference:
        """Return the error for files that cannot be found."""
        return BadReference(
            f"the files of {self.name} are neither at {self.uri} nor in the store",
            hint="set RECYCLE_STORE to the store that holds them, or save the checkpoint again",
        )

    def to_json(self) -> bytes:
        """Canonical JSON: equal manifests are equal bytes."""
        return canonical_json(self.model_dump()) + b"\n"

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read a manifest file.

        Raises:
            BadReference: there is none.
            BadCheckpoint: it is not one, or its digest does not belong to its files.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadReference(f"no manifest can be read at {path} ({error.strerror})", hint="check the path") from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Checkpoint":
        """Read a manifest's content, which came from `where`.

        Raises:
            BadCheckpoint: it is none, or its digest does not belong to its files.
        """
        try:
            checkpoint = cls.model_validate_json(content)
        except ValidationError as error:
            raise BadCheckpoint(
                f"{where} is not a checkpoint manifest ({describe_validation(error)})",
                hint="give a checkpoint.json that Recycle wrote; a newer one needs a newer Recycle",
            ) from None
        if checkpoint.digest != content_digest(checkpoint.files):
            raise BadCheckpoint(
                f"{where} was changed by hand: its digest does not belong to the files it lists",
                hint="save the checkpoint again",
            )
        return checkpoint


def or_none_if_damaged(read: Callable[[], Result]) -> Result | None:
    """Return what `read` gives, or None with a warning where it is damaged: whoever needs it makes it again."""
    try:
        return read()
    except BadCheckpoint as error:
        logger.warning("%s; it is taken for absent", error.problem)
        return None


def decode_document(content: bytes, where: str) -> str:
    """Decode a small document of the store, which came from `where`.

    Raises:
        BadCheckpoint: it is none.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadCheckpoint(
            f"{where} is damaged: its {len(content)} bytes are no text",
            hint="save or transfer again what it belongs to; that writes it anew",
        ) from None


def derive(method: str, parents: dict[str, Checkpoint], settings: dict[str, str]) -> Derivation:
    """Describe a derivation by this version of the software."""
    return Derivation(
        method=method,
        parents={role: parent.digest for role, parent in parents.items()},
        settings=settings,
        software=f"recycle {__version__}",
    )


def derivation_of(checkpoint: Checkpoint) -> Derivation:
    """Return how a checkpoint was made from others.

    Raises:
        BadCheckpoint: it was not.
    """
    if checkpoint.derivation is None:
        raise BadCheckpoint(f"{checkpoint.name} was not made by Recycle", hint="give the manifest of a recycled model")
    return checkpoint.derivation


def content_digest(files: tuple[File, ...]) -> str:
    """sha256 over the canonical JSON of the sorted (path, size, sha256)."""
    return digest_of(sorted([file.path, file.size, file.sha256] for file in files))
