"""The register step between its artifacts and the registry."""

from collections.abc import Mapping
from pathlib import Path

from components.artifact import ModelArtifact, read_checkpoint
from components.evaluation import Evaluation
from components.register.card import model_card
from components.register.register import register
from components.step import Step


def register_artifacts(
    recycled: ModelArtifact,
    parents: Mapping[str, ModelArtifact],
    evaluation: str,
    passed: bool,
    reason: str,
    model_name: str,
    card_path: str,
    run: Step,
) -> tuple[str, str]:
    """Register the model that `recycled` describes, write its card, and end the pipeline's MLflow run.

    Returns:
        The version, and its aliases as people read them.
    """
    manifest = read_checkpoint(recycled)
    manifests = {role: read_checkpoint(parent) for role, parent in parents.items()}
    scores = Evaluation.read(Path(evaluation))
    card = model_card(manifest, manifests, scores, passed=passed, reason=reason)
    Path(card_path).write_text(card, encoding="utf-8")
    done = register(
        tracker=run.tracker,
        model_name=model_name,
        recycled=manifest,
        parents=manifests,
        evaluation=scores,
        passed=passed,
        reason=reason,
    )
    aliases = ", ".join(done.aliases)
    run.tracker.params({"model": model_name, "version": done.version, "aliases": aliases})
    run.tracker.text(card, "README.md")
    run.tracker.end_pipeline()
    run.outcome.update(model=model_name, version=done.version, aliases=list(done.aliases), uri=manifest.uri)
    return done.version, aliases
