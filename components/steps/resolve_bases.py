from typing import NamedTuple

from kfp.dsl import Markdown, Output

from components.steps.component import component


@component
def resolve_bases(
    bases: str,
    chain: bool,
    scale: str,
    dtype: str,
    suite: str,
    recipe: str,
    plan: Output[Markdown],
    gate_tolerance: float = 0.0,
    model_name: str = "",
) -> NamedTuple(  # type: ignore[valid-type]
    "ResolvedBases",
    [
        ("bases", list),
        ("pairs", list),
        ("labels", list),
        ("suite", str),
        ("recipe", str),
        ("model_name", str),
        ("Output", int),  # how many; kfp.local (2.17.0) sees a condition on a task's output only by this name
        ("base_1", str),
        ("base_2", str),
        ("base_3", str),
        ("base_4", str),
        ("base_5", str),
    ],
):
    """Pin the names of several bases, prove every two compatible and estimate the cost, before anything big moves."""
    from pathlib import Path

    from components.planning import BasesRequest, parse_bases
    from components.planning import resolve_bases as resolve_request
    from components.tracking import step
    from components.transfer import parse_scale

    with step("resolve") as run:
        request = BasesRequest(
            bases=parse_bases(bases),
            chain=chain,
            scale=parse_scale(scale),
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
        )
        return resolve_request(request, run, Path(plan.path))
