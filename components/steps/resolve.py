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
    gate_tolerance: float,
    model_name: str,
    plan: Output[Markdown],
    scale_search: str = "",
    lengths: str = "",
    finetunes: bool = False,
    continues: bool = False,
) -> NamedTuple(  # type: ignore[valid-type]
    "Resolved",
    [
        ("source_base", str),
        ("source_tuned", str),
        ("target_base", str),
        ("suite", str),
        ("recipe", str),
        ("notes", list),
        ("points", list),
        ("quick_suite", str),
        ("recycled_trainings", list),
        ("target_trainings", list),
        ("model_name", str),
    ],
):
    """Pin the three names, prove the checkpoints compatible and estimate the cost, before anything big moves."""
    from pathlib import Path

    from components.planning import TransferRequest, resolve_transfer
    from components.tracking import step
    from components.transfer import parse_scale

    with step("resolve") as run:
        request = TransferRequest(
            transfer=transfer,
            source_base=source_base,
            source_tuned=source_tuned,
            target_base=target_base,
            scale=parse_scale(scale),
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
            scale_search=scale_search,
            lengths=lengths,
            finetunes=finetunes,
            continues=continues,
        )
        return resolve_transfer(request, run, Path(plan.path))
