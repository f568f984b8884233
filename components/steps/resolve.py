from typing import NamedTuple

from kfp.dsl import Markdown, Output

from components.steps.component import component


@component
def resolve(
    transfer: str,
    source_base: str,
    source_tuned: str,
    target_base: str,
    scale: str,
    dtype: str,
    suite: str,
    recipe: str,
    finetunes: bool,
    gate_tolerance: float,
    model_name: str,
    plan: Output[Markdown],
    scale_search: str = "",
    continues: bool = False,
) -> NamedTuple(  # type: ignore[valid-type]
    "Resolved",
    [
        ("source_base", str),
        ("source_tuned", str),
        ("target_base", str),
        ("source_base_state", str),
        ("source_tuned_state", str),
        ("target_base_state", str),
        ("suite", str),
        ("recipe", str),
        ("notes", list),
        ("points", list),
        ("quick_suite", str),
    ],
):
    """Pin the three names, prove the checkpoints compatible and estimate the cost, before anything big moves."""
    from components.steps.resolve_run import resolve_into
    from components.tracking import step

    checkpoints = {"source_base": source_base, "source_tuned": source_tuned, "target_base": target_base}
    with step("resolve") as run:
        return resolve_into(
            plan.path,
            run,
            transfer=transfer,
            **checkpoints,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            finetunes=finetunes,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
            scale_search=scale_search,
            continues=continues,
        )
