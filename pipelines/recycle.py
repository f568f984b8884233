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
    model_name: str = "",
) -> None:
    """Move a fine-tune onto a new base release without training, judge the result and register it.

    Writes target_base + scale · (source_tuned − source_base), evaluates it beside the models it must beat, and
    registers it in MLflow: always as `candidate`, and as `champion` when it passes the gate.

    Args:
        scale_search: Two to five further λ to try on a quick suite, such as 0.5,0.75,1.25,1.5; empty for none. One that
            is clearly better is judged on the whole suite and registered too.
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
    judged = recycle_resolved(found, scale=scale, dtype=dtype, gate_tolerance=gate_tolerance)
    # Of two registered models the later one gets the aliases: it must be the search's.
    with dsl.If(scale_search != "", name="if a search was asked for"):
        search = search_scale(
            **judged.comparison,
            points=found.outputs["points"],
            dtype=dtype,
            suite=found.outputs["suite"],
            quick_suite=found.outputs["quick_suite"],
            model_name=found.outputs["model_name"],
        )
        box(search, "try each scale").after(judged.registered)
