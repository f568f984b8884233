from typing import NamedTuple

from components.image import component


@component
def plan_lengths(lengths: str) -> NamedTuple("Lengths", [("recycled", list), ("target_base", list)]):  # type: ignore[valid-type]
    """Name the trainings that are shorter than the recipe's, from the recycled model and from the target base."""
    from components.plan_lengths.plan import trainings
    from components.step import step

    with step("plan the lengths") as run:
        run.tracker.params({"lengths": lengths})
        return trainings("recycled", lengths), trainings("target base", lengths)
