from typing import NamedTuple

from components.steps.component import component


@component
def plan_lengths(lengths: str) -> NamedTuple("Lengths", [("recycled", list), ("target_base", list)]):  # type: ignore[valid-type]
    """Name the trainings that are shorter than the recipe's, from the recycled model and from the target base."""
    from components.planning import trainings
    from components.tracking import step

    with step("plan the lengths") as run:
        run.tracker.params({"lengths": lengths})
        return trainings("recycled", lengths), trainings("target base", lengths)
