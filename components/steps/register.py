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
    tuned_further: Input[Model] = None,  # with Optional, KFP's back end cannot pass it
) -> NamedTuple("Registered", [("version", str), ("aliases", str)]):  # type: ignore[valid-type]
    """Register the recycled model, or what was fine-tuned from it, in MLflow by URI, with lineage and model card."""
    from components.steps.register_run import register_artifacts
    from components.tracking import step

    parents = {"source base": source_base, "source fine-tuned": source_tuned, "target base": target_base}
    with step("register" if role == "recycled" else f"register {role}") as run:
        return register_artifacts(
            recycled,
            parents,
            evaluation.path,
            passed,
            reason,
            model_name,
            role,
            model_card.path,
            run,
            keeps_aliases,
            tuned_further,
        )
