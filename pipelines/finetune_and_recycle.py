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
    model_name: str = "recycled",
) -> None:
    """Fine-tune a base, move the fine-tune onto a newer release without training, judge the result and register it.

    The `recycle` pipeline with the fine-tuning before it: FT(source_base) is trained by the recipe, then
    target_base + scale · (FT(source_base) − source_base) is written, evaluated beside the models it must beat, and
    registered in MLflow: always as `candidate`, and as `champion` when it passes the gate.

    A checkpoint is named as owner/name@revision on the Hugging Face hub, as family:release for a release that Recycle
    knows (olmo2-7b:M3, llama3:3.1-instruct), as a folder that the pods can read, as the path of a checkpoint.json that
    Recycle wrote, or as demo:NAME, a tiny release of the built-in demo world (made on the spot). A transfer fills in
    what is left empty. Where it and the checkpoints are left empty too, the demo runs.

    Args:
        transfer: A published transfer by name, such as olmo2-7b:M4-to-M5.
        source_base: The base to fine-tune (M_s).
        target_base: The newer base release (M_t).
        recipe: How to fine-tune, by name; empty means the transfer's own, or the demo's.
        dataset: Conversations to fine-tune on: a .jsonl or .parquet file, or hub:owner/name@revision; the recipe's own
            where it is empty.
        finetune_target: Whether to fine-tune the target base too, to show how close recycling comes to it.
        scale: λ, the factor on the weight change; 1 is the published method.
        dtype: What all three are cast to before the arithmetic: auto (the fine-tuned model's own), bfloat16,
            float16, float32, or stored (no cast).
        suite: What the models are evaluated on, by name; empty means the transfer's own, or the demo's.
        gate_tolerance: How far the recycled model may score below the source fine-tuned one and still pass, as a
            share (0.02 is two points).
        model_name: The registered model in MLflow.
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
        model_name=model_name,
    )
    with dsl.If(finetune_target == True, name="fine-tune the target too"):  # noqa: E712 - KFP overloads ==
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
