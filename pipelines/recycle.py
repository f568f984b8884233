"""The flagship."""

from kfp import dsl

from components.steps.resolve import resolve
from pipelines.parts import box, check_recycling, pipeline, recycle_resolved, search_scale, task


@pipeline(uses=(search_scale,), check=check_recycling)
def recycle(
    transfer: str = "",
    source_base: str = "",
    source_tuned: str = "",
    target_base: str = "",
    scale: str = "1",
    scale_search: str = "",
    dtype: str = "auto",
    suite: str = "",
    gate_tolerance: float = 0.02,
    model_name: str = "recycled",
) -> None:
    """Move a fine-tune onto a new base release without training, judge the result and register it.

    Writes target_base + scale · (source_tuned − source_base), evaluates it beside the models it must beat, and
    registers it in MLflow: always as `candidate`, and as `champion` when it passes the gate.

    A checkpoint is named as owner/name@revision on the Hugging Face hub, as family:release for a release that Recycle
    knows (olmo2-7b:M3, llama3:3.1-instruct), as a folder that the pods can read, as the path of a checkpoint.json that
    Recycle wrote, or as demo:NAME, a tiny release of the built-in demo world (made on the spot). A transfer fills in
    what is left empty. Where it and the checkpoints are left empty too, the demo runs.

    Args:
        transfer: A published transfer by name, such as llama3:3.0-to-3.1.
        source_base: The base that was fine-tuned (M_s).
        source_tuned: The fine-tuned model (FT(M_s)).
        target_base: The new base release (M_t).
        scale: λ, the factor on the weight change; 1 is the published method.
        scale_search: Two to five further λ to try on a quick suite, such as 0.5,0.75,1.25,1.5; empty for none. One that
            is clearly better is judged on the whole suite and registered too.
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
            source_tuned=source_tuned,
            target_base=target_base,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe="",
            gate_tolerance=gate_tolerance,
            model_name=model_name,
            scale_search=scale_search,
        ),
        "resolve",
    )
    judged = recycle_resolved(found, scale=scale, dtype=dtype, gate_tolerance=gate_tolerance, model_name=model_name)
    # Of two registered models the later one gets the aliases: it must be the search's.
    with dsl.If(scale_search != "", name="search the scale"):
        search = search_scale(
            **judged.comparison,
            points=found.outputs["points"],
            dtype=dtype,
            suite=found.outputs["suite"],
            quick_suite=found.outputs["quick_suite"],
            model_name=model_name,
        )
        box(search, "try each scale").after(judged.registered)
