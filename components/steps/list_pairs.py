from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import Input, Model

from components.steps.component import component


@component
def list_pairs(
    pairs: list,  # type: ignore[type-arg] # the form that KFP reads
    bases: Input[List[Model]],  # noqa: UP006
    tuned: Input[List[Model]],  # noqa: UP006
) -> list:  # type: ignore[type-arg]
    """Name the three checkpoints of each transfer by their digests: KFP hands lists of artifacts to no loop."""
    from components.steps.artifacts import by_role, read_checkpoint
    from components.tracking import step

    with step("list the pairs") as run:
        of_bases = {label: read_checkpoint(found).digest for label, found in by_role(bases).items()}
        of_tuned = {label: read_checkpoint(found).digest for label, found in by_role(tuned).items()}
        run.tracker.params({"pairs": len(pairs)})
        return [
            {
                "label": pair["label"],
                "checkpoints": {
                    "source base": of_bases[pair["source"]],
                    "source fine-tuned": of_tuned[pair["source"]],
                    "target base": of_bases[pair["target"]],
                },
            }
            for pair in pairs
        ]
