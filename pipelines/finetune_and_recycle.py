"""Fine-tune the old base first, then recycle."""

from kfp import dsl

from components.steps.compare import compare
from components.steps.finetune import finetune
from components.steps.resolve import resolve
from pipelines.parts import check_finetuning, evaluated, pipeline, saved_checkpoint, task, transfer_and_judge


@pipeline(check=check_finetuning)
def finetune_and_recycle(
    transfer: str = "",
    source_base: str = "",
    target_base: str = "",
    recipe: str = "",
    dataset: str = "",
    finetune_target: bool = False,
    scale: str = "1",
    dtype: str = "auto",
    suite: str = "",
    gate_tolerance: float = 0.02,
    model_name: str = "",
) -> None:
    """Fine-tune a base, move the fine-tune onto a newer release without training, judge the result and register it.

    The `recycle` pipeline with the fine-tuning before it: FT(source_base) is trained by the recipe, then
    target_base + scale · (FT(source_base) − source_base) is written, evaluated beside the models it must beat, and
    registered in MLflow: always as `candidate`, and as `champion` when it passes the gate.

    Args:
        transfer: A published transfer by name, such as olmo2-7b:M4-to-M5.
        source_base: The base to fine-tune (M_s).
        target_base: The newer base release (M_t).
        finetune_target: Whether to fine-tune the target base too, to show how close recycling comes to it.
    """
    found = task(
        resolve(
            transfer=transfer,
            source_base=source_base,
            source_tuned="",
            target_base=target_base,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            finetunes=True,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
        ),
        "resolve",
    )
    source, target = (
        saved_checkpoint(found, output, role)
        for role, output in (("source base", "source_base"), ("target base", "target_base"))
    )
    suite, recipe = found.outputs["suite"], found.outputs["recipe"]
    tuned = task(finetune(base=source, role="source base", recipe=recipe, dataset=dataset), "fine-tune source base")
    judged = transfer_and_judge(
        source_base=source,
        source_tuned=tuned.outputs["tuned"],
        target_base=target,
        notes=found.outputs["notes"],
        scale=scale,
        dtype=dtype,
        suite=suite,
        gate_tolerance=gate_tolerance,
        model_name=found.outputs["model_name"],
    )
    with dsl.If(finetune_target == True, name="if the target is fine-tuned too"):  # noqa: E712 - KFP overloads ==
        direct = task(
            finetune(base=target, role="target base", recipe=recipe, dataset=dataset), "fine-tune target base"
        )
        task(
            compare(
                **judged.comparison,
                target_tuned=direct.outputs["tuned"],
                target_tuned_evaluation=evaluated(direct.outputs["tuned"], "target fine-tuned", suite),
            ),
            "compare with the fine-tuned target",
        )
