from typing import List, NamedTuple  # noqa: UP035 - the form that KFP reads

from kfp.dsl import HTML, Artifact, Input, Markdown, Model, Output

from components.steps.component import component


@component
def choose_scale(
    recycled: Input[Model],
    statistics: Input[Artifact],
    evaluation: Input[Artifact],
    others: Input[List[Model]],  # noqa: UP006
    other_statistics: Input[List[Artifact]],  # noqa: UP006
    other_evaluations: Input[List[Artifact]],  # noqa: UP006
    notes: list,  # type: ignore[type-arg] # the form that KFP reads
    chosen: Output[Model],
    chosen_statistics: Output[Artifact],
    curve: Output[HTML],
    summary: Output[Markdown],
) -> NamedTuple(  # type: ignore[valid-type]
    "Chosen",
    [
        ("Output", bool),  # kfp.local (2.17.0) sees a condition on a task's output only where it has this name
        ("notes", list),
    ],
):
    """Draw the score over λ, and keep the λ that was set unless another is clearly better."""
    import shutil

    from components.checkpoints import derivation_of
    from components.judging import choose_best_scale
    from components.reports import publish_pages, report_on_scale_search
    from components.steps.artifacts import read_checkpoint, read_evaluation, write_checkpoint
    from components.tracking import step

    with step("choose the scale") as run:
        manifests = [read_checkpoint(model) for model in (recycled, *others)]
        # By digest and not by position: a loop may end its iterations in another order.
        scored = {found.model_digest: found for found in map(read_evaluation, (evaluation, *other_evaluations))}
        scales = [float(derivation_of(made).settings["scale"]) for made in manifests]
        main, *tried = [(scale, scored[made.digest]) for scale, made in zip(scales, manifests, strict=True)]
        choice = choose_best_scale(main, tried)
        index = scales.index(choice.chosen.scale)
        write_checkpoint(chosen, manifests[index])
        shutil.copyfile((statistics, *other_statistics)[index].path, chosen_statistics.path)
        page = report_on_scale_search(choice, title=f"λ for {manifests[0].name}")
        publish_pages(page, run, html=curve.path, summary=summary.path, name="scale search")
        run.tracker.tags({"scale search": choice.reason})
        run.tracker.metrics({f"score at scale {each.scale:g}": each.scores.mean.value for each in choice.tried})
        outcome = {"scale search": choice.reason, "scale report": curve.path, "chosen scale": choice.chosen.scale}
        run.outcome.update(outcome)
        return choice.moved, [*notes, choice.reason]
