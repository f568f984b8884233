from typing import NamedTuple

from kfp.dsl import Artifact, Input, Markdown, Model, Output

from components.steps.component import component


@component
def register(
    recycled: Input[Model],
    source_base: Input[Model],
    source_tuned: Input[Model],
    target_base: Input[Model],
    evaluation: Input[Artifact],
    passed: bool,
    reason: str,
    model_name: str,
    model_card: Output[Markdown],
    role: str = "recycled",
    keeps_aliases: bool = False,
    tuned_further: Input[Model] = None,  # with Optional, KFP fails where it is given
) -> NamedTuple("Registered", [("version", str), ("aliases", str)]):  # type: ignore[valid-type]
    """Register the recycled model, or what was fine-tuned from it, in MLflow by URI, with lineage and model card."""
    from pathlib import Path

    from components.judging import Role
    from components.steps.artifacts import read_checkpoint, read_evaluation
    from components.tracking import NewVersion, register_model, render_front_matter, render_model_card, step

    parents = {Role.SOURCE_BASE: source_base, Role.SOURCE_TUNED: source_tuned, Role.TARGET_BASE: target_base}
    parents |= {Role.RECYCLED: recycled} if tuned_further else {}
    with step("register" if role == "recycled" else f"register {role}") as run:
        version = NewVersion(
            model=read_checkpoint(tuned_further or recycled),
            parents={role: read_checkpoint(parent) for role, parent in parents.items()},
            evaluation=read_evaluation(evaluation),
            passed=passed,
            reason=reason,
            keeps_aliases=keeps_aliases,
        )
        card = render_model_card(version)
        Path(model_card.path).write_text(card, encoding="utf-8")
        done = register_model(version, model_name, run.tracker)
        run.tracker.params({"model": model_name, "version": done.version, "aliases": done.aliases_text})
        registered = f"{model_name} v{done.version}{'' if done.is_new else ' (as before)'}"
        run.tracker.tags({"registered" if role == "recycled" else f"registered {role}": registered})
        suffix = "" if role == "recycled" else f" of {role}"
        run.tracker.text(card, f"model card{suffix}.md")
        run.tracker.text(render_front_matter(version) + card, f"README{suffix}.md")
        run.tracker.end_pipeline()
        found = {
            "model": model_name,
            "version": done.version,
            "aliases": list(done.aliases),
            "kept": {alias: kept for alias, kept in done.holders.items() if kept != done.version},
            "uri": version.model.uri,
        }
        run.outcome.update(found if role == "recycled" else {role: found})
        return done.version, done.aliases_text
