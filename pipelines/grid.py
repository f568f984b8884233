"""Every fine-tune on every base."""

from typing import List, NamedTuple  # noqa: UP035 - the form that KFP reads

from kfp import dsl
from kfp.dsl import Artifact, Model

from components.steps.chart_grid import chart_grid
from components.steps.evaluate import evaluate
from components.steps.finetune import finetune
from components.steps.list_pairs import list_pairs
from components.steps.resolve_bases import resolve_bases
from components.steps.save_checkpoint import save_checkpoint
from components.steps.transfer import transfer
from pipelines.parts import box, check_grid, parallelism, pipeline, task


class OfBases(NamedTuple):
    """What was made for each base."""

    bases: List[Model]  # noqa: UP006
    tuned: List[Model]  # noqa: UP006
    bare_evaluations: List[Artifact]  # noqa: UP006
    tuned_evaluations: List[Artifact]  # noqa: UP006


class OfPairs(NamedTuple):
    """What was made for each transfer."""

    evaluations: List[Artifact]  # noqa: UP006
    statistics: List[Artifact]  # noqa: UP006


@pipeline()
def finetune_each(bases: list, recipe: str, dataset: str, suite: str) -> OfBases:  # type: ignore[type-arg]
    """Save, fine-tune and evaluate each base."""
    with dsl.ParallelFor(bases, name="each base", parallelism=parallelism()) as base:
        saved = task(save_checkpoint(reference=base.reference, role=base.label), "save")
        checkpoint = saved.outputs["checkpoint"]
        tuned = task(finetune(base=checkpoint, role=base.label, recipe=recipe, dataset=dataset), "fine-tune")
        bare_found = task(evaluate(checkpoint=checkpoint, role=base.label, suite=suite), "evaluate bare")
        tuned_found = task(
            evaluate(checkpoint=tuned.outputs["tuned"], role=base.tuned, suite=suite), "evaluate fine-tuned"
        )
    return OfBases(
        bases=dsl.Collected(checkpoint),
        tuned=dsl.Collected(tuned.outputs["tuned"]),
        bare_evaluations=dsl.Collected(bare_found.outputs["evaluation"]),
        tuned_evaluations=dsl.Collected(tuned_found.outputs["evaluation"]),
    )


@pipeline()
def transfer_each(pairs: list, scale: str, dtype: str, suite: str) -> OfPairs:  # type: ignore[type-arg]
    """Move each base's weight change onto each other base, and evaluate what comes out."""
    with dsl.ParallelFor(pairs, name="each pair", parallelism=parallelism()) as pair:
        moved = task(transfer(digests=pair.checkpoints, scale=scale, dtype=dtype, role=pair.label), "transfer")
        found = task(evaluate(checkpoint=moved.outputs["recycled"], role=pair.label, suite=suite), "evaluate")
    return OfPairs(
        evaluations=dsl.Collected(found.outputs["evaluation"]), statistics=dsl.Collected(moved.outputs["statistics"])
    )


@pipeline(uses=(finetune_each, transfer_each), check=check_grid)
def grid(
    bases: str = "",
    recipe: str = "",
    dataset: str = "",
    scale: str = "1",
    dtype: str = "auto",
    suite: str = "",
) -> None:
    """Fine-tune each of several bases by one recipe, move each weight change onto each other base, and map the scores.

    Every base is fine-tuned once; then target + scale · (FT(source) − source) is written and evaluated for every
    source and every other target. The report is a heat map of the scores with the bases' own fine-tunes on its
    diagonal, a table with paired differences, and what the distance of two bases has to do with what is kept. Nothing
    is registered. A run that stopped goes on from what is done when it is started again.

    Args:
        bases: The bases, oldest first, with commas between them; olmo2-7b:grid names the published grid's five; empty
            means the demo's.
    """
    found = task(
        resolve_bases(
            bases=bases,
            chain=False,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
        ),
        "resolve",
    )
    suite = found.outputs["suite"]
    of_bases = box(
        finetune_each(bases=found.outputs["bases"], recipe=found.outputs["recipe"], dataset=dataset, suite=suite),
        "fine-tune each base",
    )
    pairs = task(
        list_pairs(pairs=found.outputs["pairs"], bases=of_bases.outputs["bases"], tuned=of_bases.outputs["tuned"]),
        "list the pairs",
    ).output
    of_pairs = box(transfer_each(pairs=pairs, scale=scale, dtype=dtype, suite=suite), "transfer onto each other base")
    task(
        chart_grid(
            bases=found.outputs["bases"],
            pairs=found.outputs["pairs"],
            bare=of_bases.outputs["bare_evaluations"],
            own=of_bases.outputs["tuned_evaluations"],
            moved=of_pairs.outputs["evaluations"],
            statistics=of_pairs.outputs["statistics"],
        ),
        "chart the grid",
    )
