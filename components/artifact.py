"""Checkpoint manifests as KFP artifacts."""

from pathlib import Path
from typing import Protocol

from components.checkpoint import Checkpoint


class ModelArtifact(Protocol):
    """What of `kfp.dsl.Model` is used here."""

    path: str
    metadata: dict[str, object]


def read_checkpoint(artifact: ModelArtifact) -> Checkpoint:
    """The manifest that an input artifact carries."""
    return Checkpoint.read(Path(artifact.path))


def write_checkpoint(artifact: ModelArtifact, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` an output artifact, its main fields visible in KFP's UI."""
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(checkpoint.to_json())
    artifact.metadata.update(
        name=checkpoint.name,
        digest=checkpoint.digest,
        files=checkpoint.uri,
        architecture=checkpoint.architecture,
        parameters=checkpoint.parameters,
        dtype=checkpoint.dtype,
    )
