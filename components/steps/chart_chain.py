from typing import NamedTuple, Optional

from kfp.dsl import HTML, Artifact, Input, Markdown, Output

from components.steps.component import component


@component
def chart_chain(
    stage: int,
    labels: list,  # type: ignore[type-arg] # the form that KFP reads
    base_before: Input[Artifact],
    tuned_before: Input[Artifact],
    base: Input[Artifact],
    transferred: Input[Artifact],
    tuned: Input[Artifact],
    gate_tolerance: float,
    chain: Output[Artifact],
    report: Output[HTML],
    summary: Output[Markdown],
    direct: Optional[Input[Artifact]] = None,  # noqa: UP045 - the form that KFP reads
    earlier: Optional[Input[Artifact]] = None,  # noqa: UP045
) -> NamedTuple("Verdict", [("passed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Show what every release of the chain so far scores, and judge the newest model."""
    from components.judging.chain import Measured
    from components.steps.artifacts import read_evaluation
    from components.steps.chart_chain_run import chain_before, chart_chain_into
    from components.tracking import step

    with step(f"chart stage {stage}{' with the direct fine-tune' if direct else ''}") as run:
        measured = Measured(
            label=labels[stage - 1],
            base=read_evaluation(base),
            transferred=read_evaluation(transferred),
            tuned=read_evaluation(tuned),
            direct=read_evaluation(direct) if direct else None,
            tuned_before=read_evaluation(tuned_before),
        )
        before = chain_before(earlier, labels[stage - 2], base_before, tuned_before)
        return chart_chain_into(before, measured, gate_tolerance, chain.path, report.path, summary.path, run)
