from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import Input, Model, Output

from components.steps.component import component


@component
def pick_pair(
    bases: Input[List[Model]],  # noqa: UP006
    tuned: Input[List[Model]],  # noqa: UP006
    source: str,
    target: str,
    source_base: Output[Model],
    source_tuned: Output[Model],
    target_base: Output[Model],
) -> None:
    """Hand on the three checkpoints of one transfer, out of those of all bases."""
    from components.steps.artifacts import by_role, read_checkpoint, write_checkpoint
    from components.tracking import step

    with step(f"pick {source} onto {target}") as run:
        for artifact, made in (
            (by_role(bases)[source], source_base),
            (by_role(tuned)[source], source_tuned),
            (by_role(bases)[target], target_base),
        ):
            write_checkpoint(made, read_checkpoint(artifact))
        run.tracker.params({"source": source, "target": target})
