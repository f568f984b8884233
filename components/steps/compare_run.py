"""The compare step between its artifacts and the comparison itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from components.checkpoints import Checkpoint, derivation_of
from components.forecast import Forecast
from components.judging import Evaluation
from components.reports.comparison.compare import compare
from components.reports.comparison.inputs import Model, Role
from components.reports.comparison.published import known_as
from components.steps.artifacts import ModelArtifact, read_checkpoint
from components.store import open_checkpoint
from components.tracking import Step
from components.transfer import Statistics


def compare_artifacts(
    given: Mapping[str, tuple[ModelArtifact, ModelArtifact]],
    source_base: ModelArtifact,
    more: str,
    notes: list[str],
    gate_tolerance: float,
    statistics: str,
    forecast: str,
    first: str,
    report: str,
    summary: str,
    run: Step,
) -> tuple[bool, str]:
    """Compare the models whose manifest and evaluation are `given` by role, and write both forms of the report.

    Args:
        given: target base, recycled, source fine-tuned and, if there is one, target fine-tuned.
        source_base: for the record.
        more: what tells this comparison from the main one of its run, to follow its name; empty for that one.
        notes: what planning found worth saying.
        gate_tolerance: how far below the source fine-tuned model the recycled one may score, in score units.
        statistics: file of the transfer's.
        forecast: file of what was expected.
        first: file of the evaluation of the model at the scale that was set, where another was chosen; else empty.
        report: file for the HTML.
        summary: file for the Markdown.
        run: the step.

    Returns:
        Whether the gate passes, and why.
    """
    manifests = {role: read_checkpoint(manifest) for role, (manifest, _) in given.items()}
    recycled = manifests["recycled"]
    derivation = derivation_of(recycled)
    described = {**manifests, "source base": read_checkpoint(source_base)}
    comparison = compare(
        title=f"Recycled: {manifests['source fine-tuned'].name} onto {manifests['target base'].name}",
        models=tuple(
            Model(
                role=cast(Role, role),
                evaluation=Evaluation.read(Path(evaluation.path)),
                lineage=lineage(manifests[role]),
                known_as=known_as(role, described),
            )
            for role, (_, evaluation) in given.items()
        ),
        statistics=Statistics.model_validate_json(Path(statistics).read_bytes()).tensors,
        forecast=Forecast.model_validate_json(Path(forecast).read_bytes()),
        scale=derivation.settings["scale"],
        dtype=derivation.settings["dtype"],
        notes=tuple(notes),
        load_path=open_checkpoint(recycled).reference,
        tolerance=gate_tolerance,
        first=Evaluation.read(Path(first)) if first else None,
    )
    Path(report).write_text(comparison.html, encoding="utf-8")
    Path(summary).write_text(comparison.markdown, encoding="utf-8")
    run.tracker.text(comparison.html, f"report{more}.html")
    run.tracker.text(comparison.markdown, f"report{more}.md")
    # Another λ is another model, whose figures stand beside those of the main line.
    other = more if first else ""
    run.tracker.pipeline_metrics({f"{name}{other}": value for name, value in comparison.metrics.items()})
    gate = "passed" if comparison.gate.passed else "failed"
    run.tracker.tags({f"gate{other}": gate, f"gate reason{other}": comparison.gate.reason})
    found = {
        "table": comparison.text,
        "passed": comparison.gate.passed,
        "reason": comparison.gate.reason,
        "report": str(report),
        "metrics": comparison.metrics,
    }
    run.outcome.update({f"comparison{other}": found} if other else found)
    return comparison.gate.passed, comparison.gate.reason


def lineage(checkpoint: Checkpoint) -> tuple[tuple[str, str], ...]:
    """What a report tells of where a checkpoint came from."""
    rows = [("name", checkpoint.name), ("digest", checkpoint.digest), ("stored at", checkpoint.uri)]
    origin = checkpoint.origin
    if origin.get("kind") == "hub":
        rows.append(("from", f"hub {origin['repo']}@{origin['commit']} (asked for as {origin['revision']})"))
        rows += [("release", origin["release"])] if "release" in origin else []
    elif origin:
        rows.append(("from", ", ".join(f"{key} {value}" for key, value in origin.items())))
    if checkpoint.derivation:
        rows.append(("made by", f"{checkpoint.derivation.method}, {checkpoint.derivation.software}"))
        rows += [(f"from {role}", digest) for role, digest in checkpoint.derivation.parents.items()]
        rows += list(checkpoint.derivation.settings.items())
    return tuple(rows)
