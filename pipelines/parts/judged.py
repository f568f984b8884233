"""The second half of every pipeline that makes one recycled model: transfer, evaluate, compare, register."""

from dataclasses import dataclass

from kfp.dsl.pipeline_channel import PipelineChannel
from kfp.dsl.pipeline_task import PipelineTask

from components.steps.compare import compare
from components.steps.connectivity import connectivity
from components.steps.evaluate import evaluate
from components.steps.register import register
from components.steps.save_checkpoint import save_checkpoint
from components.steps.transfer import transfer
from pipelines.parts.tasks import task


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the steps up to the registration offer to those after them."""

    target_base: PipelineChannel
    comparison: dict[str, object]
    """The arguments of `compare`, for a second comparison with more models."""
    verdict: PipelineTask
    """The task of `compare`."""
    registered: PipelineTask
    """The task of `register`."""


def recycle_resolved(
    found: PipelineTask,
    *,
    scale: str,
    dtype: str,
    gate_tolerance: float,
    keeps_aliases: PipelineChannel | bool = False,
) -> Judged:
    """Add everything that follows a `resolve` of three checkpoints that are there, flat in the pipeline's graph."""
    saved = {
        role: saved_checkpoint(found, output, role)
        for role, output in (
            ("source base", "source_base"),
            ("source fine-tuned", "source_tuned"),
            ("target base", "target_base"),
        )
    }
    return transfer_and_judge(
        keeps_aliases=keeps_aliases,
        source_base=saved["source base"],
        source_tuned=saved["source fine-tuned"],
        target_base=saved["target base"],
        notes=found.outputs["notes"],
        scale=scale,
        dtype=dtype,
        suite=found.outputs["suite"],
        gate_tolerance=gate_tolerance,
        model_name=found.outputs["model_name"],
    )


def transfer_and_judge(
    *,
    source_base: PipelineChannel,
    source_tuned: PipelineChannel,
    target_base: PipelineChannel,
    notes: PipelineChannel,
    scale: str,
    dtype: str,
    suite: PipelineChannel,
    gate_tolerance: float,
    model_name: PipelineChannel,
    keeps_aliases: PipelineChannel | bool = False,
) -> Judged:
    """Add these steps to the pipeline being defined, flat in its graph."""
    made = task(
        transfer(source_base=source_base, source_tuned=source_tuned, target_base=target_base, scale=scale, dtype=dtype),
        "transfer",
    )
    recycled, statistics = made.outputs["recycled"], made.outputs["statistics"]
    expected = task(
        connectivity(source_base=source_base, target_base=target_base, statistics=statistics), "will it transfer"
    )
    models = {"target base": target_base, "recycled": recycled, "source fine-tuned": source_tuned}
    evaluations = {role: evaluated(checkpoint, role, suite) for role, checkpoint in models.items()}
    comparison: dict[str, object] = {
        "source_base": source_base,
        "target_base": target_base,
        "recycled": recycled,
        "source_tuned": source_tuned,
        "target_base_evaluation": evaluations["target base"],
        "recycled_evaluation": evaluations["recycled"],
        "source_tuned_evaluation": evaluations["source fine-tuned"],
        "statistics": statistics,
        "forecast": expected.outputs["forecast"],
        "notes": notes,
        "gate_tolerance": gate_tolerance,
    }
    verdict = task(compare(**comparison), "compare")
    registered = task(
        register(
            recycled=recycled,
            source_base=source_base,
            source_tuned=source_tuned,
            target_base=target_base,
            evaluation=evaluations["recycled"],
            passed=verdict.outputs["passed"],
            reason=verdict.outputs["reason"],
            model_name=model_name,
            keeps_aliases=keeps_aliases,
        ),
        "register",
    )
    return Judged(target_base=target_base, comparison=comparison, verdict=verdict, registered=registered)


def saved_checkpoint(found: PipelineTask, output: str, role: str) -> PipelineChannel:
    """Add the saving of a checkpoint that `resolve` found.

    Args:
        found: the task of `resolve`.
        output: which of its outputs names the checkpoint.
        role: what the checkpoint is in this pipeline, for people.
    """
    saving = save_checkpoint(reference=found.outputs[output], role=role)
    return task(saving, f"save {role}").outputs["checkpoint"]


def evaluated(checkpoint: PipelineChannel, role: str, suite: PipelineChannel) -> PipelineChannel:
    """Add the evaluation of one model."""
    return task(evaluate(checkpoint=checkpoint, role=role, suite=suite), f"evaluate {role}").outputs["evaluation"]
