from kfp.dsl import Input, Model, Output

from components.steps.component import component


@component
def finetune(
    base: Input[Model], role: str, recipe: str, dataset: str, tuned: Output[Model], share: float = 1.0
) -> None:
    """Fine-tune a base by a recipe; a broken-off training goes on, a finished one is not done again."""
    from components.finetune import finetune_in_store, load_recipe, shortened
    from components.steps.artifacts import read_checkpoint, write_checkpoint
    from components.store import open_store
    from components.tracking import step

    with step(f"fine-tune {role}") as run:
        chosen = shortened(load_recipe(recipe), share)
        run.tracker.params(chosen.model_dump(exclude={"dataset"}))
        made = finetune_in_store(read_checkpoint(base), chosen, dataset, open_store(), run.tracker)
        run.tracker.params({"digest": made.digest, "uri": made.uri})
        run.tracker.tags({f"digest of fine-tuned {role}": made.digest})
        run.outcome[f"{role} fine-tuned"] = made.uri
        write_checkpoint(tuned, made)
        tuned.metadata.update(role=role, steps=chosen.max_steps or 0)
