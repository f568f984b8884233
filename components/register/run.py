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
    tuned_further: ModelArtifact | None,
) -> None:
    """Register a model, write its card, and end the pipeline's MLflow run.

    Args:
        recycled: what the transfer wrote.
        parents: what it was made from, by role.
        evaluation: path of the registered model's.
        passed: whether the gate passed.
        reason: why.
        model_name: the registered model in MLflow.
        card_path: where the card is written.
        run: the running step.
        tuned_further: what was fine-tuned from `recycled`, which then is what is registered.
    """
    manifest = read_checkpoint(tuned_further or recycled)
    manifests = {role: read_checkpoint(parent) for role, parent in parents.items()}
    if tuned_further is not None:
        manifests["recycled"] = read_checkpoint(recycled)
    scores = Evaluation.read(Path(evaluation))
    card = model_card(manifest, manifests, scores, passed=passed, reason=reason)
    Path(card_path).write_text(card, encoding="utf-8")
    done = register(
        tracker=run.tracker,
        model_name=model_name,
        model=manifest,
        parents=manifests,
        evaluation=scores,
        passed=passed,
        reason=reason,
    )
    run.tracker.params({"model": model_name, "version": done.version, "aliases": ", ".join(done.aliases)})
    run.tracker.text(card, "README.md")
    run.tracker.end_pipeline()
    run.outcome.update(model=model_name, version=done.version, aliases=list(done.aliases), uri=manifest.uri)
