"""Continue fine-tuning from the recycled model, and see how many training steps that saves."""

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp import dsl
from kfp.dsl import Artifact, Input, Model

from components.steps.chart_lengths import chart_lengths
from components.steps.evaluate import evaluate
from components.steps.finetune import finetune
from components.steps.register import register
from components.steps.resolve import resolve
from components.steps.transfer import transfer as transfer_step
from pipelines.parts import box, check_lengths, evaluated, parallelism, pipeline, saved_checkpoint, task


@pipeline()
def finetune_over_lengths(
    base: Input[Model],
    trainings: list,  # type: ignore[type-arg] # the form that KFP reads
    recipe: str,
    dataset: str,
    suite: str,
) -> List[Artifact]:  # noqa: UP006
    """Fine-tune one model over several lengths, each a training of its own, and evaluate what comes out."""
    with dsl.ParallelFor(trainings, name="each length", parallelism=parallelism()) as training:
        made = task(
            finetune(base=base, role=training.label, recipe=recipe, dataset=dataset, share=training.share), "fine-tune"
        )
        found = task(evaluate(checkpoint=made.outputs["tuned"], role=training.label, suite=suite), "evaluate")
    evaluations: List[Artifact] = dsl.Collected(found.outputs["evaluation"])  # noqa: UP006
    return evaluations


@pipeline(uses=(finetune_over_lengths,), check=check_lengths)
def recycle_then_finetune(
    transfer: str = "",
    source_base: str = "",
    source_tuned: str = "",
    target_base: str = "",
    recipe: str = "",
    dataset: str = "",
    lengths: str = "0.125, 0.25, 0.5",
    scale: str = "1",
    dtype: str = "auto",
    suite: str = "",
    gate_tolerance: float = 0.02,
    model_name: str = "",
) -> None:
    """Move a fine-tune onto a new base release, fine-tune further from there, and report the training steps saved.

    The recycled model and the target base are fine-tuned by the same recipe, over all of its steps and over shares of
    them. The report shows what each reaches after how many steps, and how many the recycled start saves on the way to
    the directly fine-tuned model's score. The recycled and then fine-tuned model is registered in MLflow: always as
    `candidate`, and as `champion` when it beats the target base and keeps up with the directly fine-tuned model.

    Args:
        lengths: Shares of the recipe's steps to train over besides all of them, with commas between them. Each is a
            training of its own from either start.
        gate_tolerance: How far the model may score below the directly fine-tuned one and still pass, as a share (0.02
            is two points).
    """
    found = task(
        resolve(
            transfer=transfer,
            source_base=source_base,
            source_tuned=source_tuned,
            target_base=target_base,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            lengths=lengths,
            continues=True,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
        ),
        "resolve",
    )
    parents = {
        "source_base": saved_checkpoint(found, "source_base", "source base"),
        "source_tuned": saved_checkpoint(found, "source_tuned", "source fine-tuned"),
        "target_base": saved_checkpoint(found, "target_base", "target base"),
    }
    suite, recipe = found.outputs["suite"], found.outputs["recipe"]
    recycled = task(transfer_step(**parents, scale=scale, dtype=dtype), "transfer").outputs["recycled"]
    starts = {"recycled": recycled, "target base": parents["target_base"]}
    bare = {role: evaluated(start, role, suite) for role, start in starts.items()}
    given = {"recipe": recipe, "dataset": dataset}
    whole = {
        role: task(finetune(base=start, role=role, **given), f"fine-tune {role}").outputs["tuned"]
        for role, start in starts.items()
    }
    judged = {role: evaluated(tuned, f"{role} fine-tuned", suite) for role, tuned in whole.items()}
    trainings = {
        "recycled": found.outputs["recycled_trainings"],
        "target base": found.outputs["target_trainings"],
    }
    shorter = {
        role: box(
            finetune_over_lengths(base=start, trainings=trainings[role], suite=suite, **given), f"shorter, from {role}"
        ).output
        for role, start in starts.items()
    }
    verdict = task(
        chart_lengths(
            recycled_evaluation=bare["recycled"],
            target_base_evaluation=bare["target base"],
            recycled_tuned=whole["recycled"],
            recycled_tuned_evaluation=judged["recycled"],
            target_tuned_evaluation=judged["target base"],
            recycled_shorter=shorter["recycled"],
            target_shorter=shorter["target base"],
            recycled_trainings=trainings["recycled"],
            target_trainings=trainings["target base"],
            gate_tolerance=gate_tolerance,
        ),
        "chart the training steps",
    )
    task(
        register(
            recycled=recycled,
            **parents,
            tuned_further=whole["recycled"],
            evaluation=judged["recycled"],
            passed=verdict.outputs["passed"],
            reason=verdict.outputs["reason"],
            model_name=found.outputs["model_name"],
        ),
        "register",
    )
