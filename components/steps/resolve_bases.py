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
    model_name: str = "none",
) -> NamedTuple(  # type: ignore[valid-type]
    "ResolvedBases",
    [
        ("bases", list),
        ("pairs", list),
        ("labels", list),
        ("suite", str),
        ("recipe", str),
        ("Output", int),  # how many; kfp.local (2.17.0) sees a condition on a task's output only by this name
        ("base_1", str),
        ("base_2", str),
        ("base_3", str),
        ("base_4", str),
        ("base_5", str),
        ("base_1_state", str),
        ("base_2_state", str),
        ("base_3_state", str),
        ("base_4_state", str),
        ("base_5_state", str),
    ],
):
    """Pin the names of several bases, prove every two compatible and estimate the cost, before anything big moves."""
    from components.steps.resolve_bases_run import Wanted, resolve_bases_into
    from components.tracking import step

    with step("resolve") as run:
        wanted = Wanted(
            bases=bases,
            chain=chain,
            scale=scale,
            dtype=dtype,
            suite=suite,
            recipe=recipe,
            gate_tolerance=gate_tolerance,
            model_name=model_name,
        )
        return resolve_bases_into(plan.path, run, wanted)
