"""The choice of λ between its artifacts and the rule."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from components.checkpoints import derivation_of
from components.judging import Evaluation, choose
from components.reports.scale_search import render_html, render_markdown
from components.steps.artifacts import ModelArtifact, read_checkpoint, write_checkpoint
from components.tracking import Step


def choose_artifact(
    models: Sequence[ModelArtifact],
    statistics: Sequence[ModelArtifact],
    evaluations: Sequence[ModelArtifact],
    notes: list[str],
    chosen: ModelArtifact,
    chosen_statistics: str,
    curve: str,
    summary: str,
    run: Step,
) -> tuple[bool, list[str]]:
    """Choose among models, of which the first has λ as it was set; each has its statistics at the same place.

    Returns:
        Whether another λ than the first is chosen; and the notes, with how it was chosen, for a report on it.
    """
    manifests = [read_checkpoint(model) for model in models]
    # By digest and not by place: a loop may end its iterations in another order.
    scored = {found.model_digest: found for found in (Evaluation.read(Path(each.path)) for each in evaluations)}
    scales = [float(derivation_of(made).settings["scale"]) for made in manifests]
    main, *others = [(scale, scored[made.digest]) for scale, made in zip(scales, manifests, strict=True)]
    choice = choose(main, others)
    place = scales.index(choice.chosen.scale)
    write_checkpoint(chosen, manifests[place])
    shutil.copyfile(statistics[place].path, chosen_statistics)
    title = f"λ for {manifests[0].name}"
    html, markdown = render_html(choice, title=title), render_markdown(choice, title=title)
    Path(curve).write_text(html, encoding="utf-8")
    Path(summary).write_text(markdown, encoding="utf-8")
    run.tracker.text(html, "scale search.html")
    run.tracker.text(markdown, "scale search.md")
    run.tracker.tags({"scale search": choice.reason})
    run.tracker.metrics({f"score at scale {point.scale:g}": point.scores.mean.value for point in choice.points})
    run.outcome.update({"scale search": choice.reason, "scale report": curve, "chosen scale": choice.chosen.scale})
    return choice.moved, [*notes, choice.reason]
