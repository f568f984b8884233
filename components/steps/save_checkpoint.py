from kfp.dsl import Model, Output

from components.steps.component import component


@component
def save_checkpoint(reference: str, role: str, checkpoint: Output[Model]) -> None:
    """Bring a checkpoint into the store, every byte verified; free when it is there."""
    from components.references import save_checkpoint as save
    from components.steps.artifacts import write_checkpoint
    from components.store import open_store
    from components.tracking import step

    with step(f"save {role}") as run:
        saved = save(reference, open_store())
        run.tracker.params({"reference": reference, "digest": saved.digest, "uri": saved.uri})
        run.tracker.text(saved.to_json().decode(), f"{role}/checkpoint.json")
        run.tracker.tags({f"digest of {role}": saved.digest})
        write_checkpoint(checkpoint, saved)
        checkpoint.metadata["role"] = role
