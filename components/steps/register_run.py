"""The register step between its artifacts and the registry."""

from collections.abc import Mapping
from pathlib import Path

from components.judging import Evaluation
from components.steps.artifacts import ModelArtifact, read_checkpoint
from components.tracking import Step, model_card, register


def register_artifacts(
    recycled: ModelArtifact,
    parents: Mapping[str, ModelArtifact],
    evaluation: str,
    passed: bool,
    reason: str,
    model_name: str,
    role: str,
    card_path: str,
    run: Step,
    keeps_aliases: bool,
    tuned_further: ModelArtifact | None,
) -> tuple[str, str]:
    """Register a model, write its card, and end the pipeline's MLflow run.

    Args:
        recycled: what the transfer wrote.
        parents: what it was made from, by role.
        evaluation: path of the registered model's.
        passed: whether the gate lets it through.
        reason: why.
        model_name: of the registered model.
        role: `recycled`, or what else this model is in the run.
        card_path: file for the model card.
        run: the step.
        keeps_aliases: whether a newer release passed before, so that aliases which another version has stay there.
        tuned_further: what was fine-tuned from `recycled`, which then is what is registered.

    Returns:
        The version, and its aliases as people read them.
    """
    manifest = read_checkpoint(tuned_further or recycled)
    manifests = {role: read_checkpoint(parent) for role, parent in parents.items()}
    if tuned_further is not None:
        manifests["recycled"] = read_checkpoint(recycled)
    scores = Evaluation.read(Path(evaluation))
    card = model_card(manifest, manifests, scores, passed=passed, reason=reason, keeps_aliases=keeps_aliases)
    Path(card_path).write_text(card, encoding="utf-8")
    done = register(
        tracker=run.tracker,
        model_name=model_name,
        model=manifest,
        parents=manifests,
        evaluation=scores,
        passed=passed,
        reason=reason,
        keeps_aliases=keeps_aliases,
    )
    aliases = ", ".join(done.aliases) or "no alias: another version, which passed the gate, keeps it"
    run.tracker.params({"model": model_name, "version": done.version, "aliases": aliases})
    is_main = role == "recycled"
    run.tracker.text(card, "README.md" if is_main else f"README of {role}.md")
    run.tracker.end_pipeline()
    told = {"model": model_name, "version": done.version, "aliases": list(done.aliases), "uri": manifest.uri}
    run.outcome.update(told if is_main else {role: told})
    return done.version, aliases
