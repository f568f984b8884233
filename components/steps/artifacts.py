"""Checkpoint manifests and evaluations as KFP artifacts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel

from components.checkpoints import Checkpoint
from components.errors import BadParameter, BadReference
from components.judging import Evaluation
from components.store import Store


class ModelArtifact(Protocol):
    """What of `kfp.dsl.Model` is used here, and of `kfp.dsl.Artifact`."""

    path: str
    metadata: dict[str, object]


Given = TypeVar("Given", bound=ModelArtifact)
Document = TypeVar("Document", bound=BaseModel)


def read_checkpoint(artifact: ModelArtifact) -> Checkpoint:
    """The manifest that an input artifact carries."""
    return Checkpoint.read(Path(artifact.path))


def read_from_store(digest: str, store: Store) -> Checkpoint:
    """The manifest of a checkpoint that an earlier step of the run put into the store.

    Raises:
        BadReference: the store does not have it, or not any more.
    """
    found = store.find(digest)
    if found is None:
        raise BadReference(
            f"{store.uri} has no checkpoint {digest}, which an earlier step put there",
            hint="start the run again: what is missing is made again",
        )
    return found


def write_checkpoint(artifact: ModelArtifact, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` an output artifact, its main fields visible in KFP's UI.

    They are few: KFP copies them, escaped thrice, into every step that takes the artifact, some six times each.
    """
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(checkpoint.to_json())
    artifact.metadata.update(
        name=checkpoint.name,
        model=f"{checkpoint.architecture}, {checkpoint.parameters:,} parameters, {checkpoint.dtype}",
        files=checkpoint.uri,
    )


def read_evaluation(artifact: ModelArtifact) -> Evaluation:
    """The evaluation that an input artifact carries."""
    return Evaluation.read(Path(artifact.path))


def read_document(artifact: ModelArtifact, kind: type[Document]) -> Document:
    """What a step before wrote as JSON of this kind."""
    return kind.model_validate_json(Path(artifact.path).read_bytes())


def log_metrics(artifact: ModelArtifact, values: Mapping[str, float]) -> None:
    """Make finite values an output artifact of KFP's `Metrics`, which its UI shows and compares by run."""
    artifact.metadata.update(values)
    # KFP's local cache takes an output without a file for missing.
    Path(artifact.path).write_text(json.dumps(values), encoding="utf-8")


def by_role(artifacts: Iterable[Given]) -> dict[str, Given]:
    """The artifacts that a loop made, by the role that each of its iterations had.

    Raises:
        BadParameter: two had the same.
    """
    found: dict[str, Given] = {}
    for artifact in artifacts:
        role = str(artifact.metadata["role"])
        if role in found:
            raise BadParameter(f"two iterations of a loop are called {role!r}", hint="give the bases other names")
        found[role] = artifact
    return found
