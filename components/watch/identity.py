"""What a base release is, whatever it is called: its content, less what a recycled model does not depend on."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from components.checkpoints import TOKENIZER_CONFIG, File, Layout, SourceFile, digest_of, digest_of_file, fingerprint
from components.store import Store
from components.system import Progress

BESIDE_THE_POINT = (TOKENIZER_CONFIG, "README", "LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
"""A recycled model has the fine-tune's tokenizer, and saving a checkpoint completes that file."""
DOCUMENTS = (".md", ".txt")
IDENTITY = "identity"


class Identity(BaseModel):
    """What the store remembers of a state of files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str = Field(pattern=r"^[0-9a-f]{64}$")


def is_content(path: str) -> bool:
    """Whether a file is part of what tells one release from another. Vocabularies of old tokenizers are .txt too."""
    documents = path.endswith(DOCUMENTS) and path not in ("merges.txt", "vocab.txt")
    return path not in BESIDE_THE_POINT and not documents


def content_of(files: Iterable[File]) -> str:
    """The digest that names a release by the files of its manifest."""
    return digest_of(sorted([file.path, file.size, file.sha256] for file in files if is_content(file.path)))


def identify_content(layout: Layout, store: Store) -> str:
    """The same digest of a checkpoint where it lies.

    What its source knows by digest is not read; the rest is, once for each state of its files: the store remembers.

    Raises:
        RecycleError: a file cannot be read.
    """
    state = fingerprint(layout)
    known = store.get_document(IDENTITY, state, Identity)
    if known is None:
        files = [file for file in layout.files if is_content(file.path)]
        known = Identity(content=content_of(_with_digests(layout, files)))
        store.put(IDENTITY, state, known.model_dump_json())
    return known.content


def _with_digests(layout: Layout, files: list[SourceFile]) -> list[File]:
    source = layout.source
    unknown = sum(file.size for file in files if file.sha256 is None)
    with Progress(f"reading {source.name}", unknown) as progress:
        return [
            File(
                path=file.path,
                size=file.size,
                sha256=file.sha256 or digest_of_file(source, file.path, file.size, progress.advance),
            )
            for file in files
        ]
