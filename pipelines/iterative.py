"""Along several releases: each is fine-tuned from what the one before learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineChannel
from kfp.dsl.pipeline_task import PipelineTask

from components.planning import LONGEST_CHAIN
from components.steps.chart_chain import chart_chain
from components.steps.finetune import finetune
from components.steps.register import register
from components.steps.resolve_bases import resolve_bases
from components.steps.transfer import transfer
from pipelines.parts import check_chain, evaluated, pipeline, saved_checkpoint, task


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What a stage hands on to the next."""

    base: PipelineChannel
    tuned: PipelineChannel
    base_evaluation: PipelineChannel
    tuned_evaluation: PipelineChannel
    chain: PipelineChannel | None


@pipeline(check=check_chain)
def iterative(
    bases: str = "",
    recipe: str = "",
    dataset: str = "",
    finetune_directly: bool = False,
    scale: str = "1",
    dtype: str = "auto",
    suite: str = "",
    gate_tolerance: float = 0.02,
    model_name: str = "",
) -> None:
    """Go along two to five releases: fine-tune the first, then recycle onto each next one and fine-tune from there.

    M*_1 = FT(M_1); then M*_i = FT(M_i + scale · (M*_(i−1) − M_(i−1))), by one recipe. The report shows each release
    bare, with the weight change of the release before, and fine-tuned from there. The last release's model is
    registered in MLflow: always as `candidate`, and as `champion` when it beats its bare base and keeps up with the
    model of the release before.

    Args:
        bases: The releases, oldest first, with commas between them; olmo2-7b:grid names the paper's five; empty means
            the demo's.
        finetune_directly: Whether to fine-tune the last release from itself too, to compare.
        gate_tolerance: How far the last model may score below that of the release before and still pass, as a share
            (0.02 is two points).
    """
    found = task(
        resolve_bases(
            bases=bases,
            chain=True,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
        ),
        "resolve",
    )
    given = {
        "dataset": dataset,
        "finetune_directly": finetune_directly,
        "scale": scale,
        "dtype": dtype,
        "gate_tolerance": gate_tolerance,
        "model_name": found.outputs["model_name"],
    }
    _next_stage(_first_stage(found, dataset), 2, found, given)


def _first_stage(found: PipelineTask, dataset: str) -> _Stage:
    """Add the first release, fine-tuned from itself."""
    base, suite = saved_checkpoint(found, "base_1", "base 1"), found.outputs["suite"]
    tuned = _finetuned(base, "base 1", found, dataset)
    return _Stage(
        base=base,
        tuned=tuned,
        base_evaluation=evaluated(base, "base 1", suite),
        tuned_evaluation=evaluated(tuned, "base 1 fine-tuned", suite),
        chain=None,
    )


def _next_stage(before: _Stage, number: int, found: PipelineTask, given: Mapping[str, Any]) -> None:
    """Add one more release, and in conditions what depends on whether it is the last."""
    suite = found.outputs["suite"]
    base = saved_checkpoint(found, f"base_{number}", f"base {number}")
    parents = {"source_base": before.base, "source_tuned": before.tuned, "target_base": base}
    recycled = task(
        transfer(**parents, scale=given["scale"], dtype=given["dtype"], role=f"recycled {number}"),
        f"transfer onto base {number}",
    ).outputs["recycled"]
    tuned = _finetuned(recycled, f"recycled {number}", found, given["dataset"])
    charted = {
        "stage": number,
        "labels": found.outputs["labels"],
        "base_before": before.base_evaluation,
        "tuned_before": before.tuned_evaluation,
        "base": evaluated(base, f"base {number}", suite),
        "transferred": evaluated(recycled, f"recycled {number}", suite),
        "tuned": evaluated(tuned, f"recycled {number} fine-tuned", suite),
        "gate_tolerance": given["gate_tolerance"],
        **({"earlier": before.chain} if before.chain else {}),
    }
    chart = task(chart_chain(**charted), f"chart stage {number}")
    stage = _Stage(
        base=base,
        tuned=tuned,
        base_evaluation=charted["base"],
        tuned_evaluation=charted["tuned"],
        chain=chart.outputs["chain"],
    )

    def end() -> None:
        made = {"recycled": recycled, "tuned_further": tuned, "evaluation": stage.tuned_evaluation}
        verdict = {"passed": chart.outputs["passed"], "reason": chart.outputs["reason"]}
        task(register(**parents, **made, **verdict, model_name=given["model_name"]), "register")
        with dsl.If(given["finetune_directly"] == True, name="if fine-tuned directly too"):  # noqa: E712 - KFP overloads ==
            direct = evaluated(
                _finetuned(base, f"base {number}", found, given["dataset"]), f"base {number} fine-tuned", suite
            )
            task(chart_chain(**charted, direct=direct), f"chart stage {number} with the direct fine-tune")

    if number == LONGEST_CHAIN:
        end()
        return
    # Not with Else, for which KFP's graph has one more box, that has no name.
    with dsl.If(found.outputs["Output"] > number, name=f"if there is a release {number + 1}"):
        _next_stage(stage, number + 1, found, given)
    with dsl.If(found.outputs["Output"] == number, name=f"if release {number} is the last"):
        end()


def _finetuned(base: PipelineChannel, role: str, found: PipelineTask, dataset: str) -> PipelineChannel:
    training = finetune(base=base, role=role, recipe=found.outputs["recipe"], dataset=dataset)
    return task(training, f"fine-tune {role}").outputs["tuned"]
