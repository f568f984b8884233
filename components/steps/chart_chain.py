from typing import NamedTuple

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
    direct: Input[Artifact] = None,  # with Optional, KFP fails where it is given
    earlier: Input[Artifact] = None,
) -> NamedTuple("Verdict", [("passed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Show what every release of the chain so far scores, and judge the newest model."""
    from pathlib import Path

    from components.judging import Chain, StageEvaluations, begin_chain, extend_chain, judge_stage
    from components.reports import publish_report, report_on_chain
    from components.steps.artifacts import read_document, read_evaluation
    from components.tracking import step

    more = " with the direct fine-tune" if direct else ""
    with step(f"chart stage {stage}{more}") as run:
        evaluations = StageEvaluations(
            label=labels[stage - 1],
            base=read_evaluation(base),
            transferred=read_evaluation(transferred),
            tuned=read_evaluation(tuned),
            direct=read_evaluation(direct) if direct else None,
            tuned_before=read_evaluation(tuned_before),
        )
        if earlier:
            before = read_document(earlier, Chain)
        else:
            before = begin_chain(labels[stage - 2], read_evaluation(base_before), evaluations.tuned_before)
        longer, gate = extend_chain(before, evaluations), judge_stage(evaluations, gate_tolerance)
        Path(chain.path).write_text(longer.model_dump_json(), encoding="utf-8")
        found = report_on_chain(longer, gate)
        publish_report(found, run, html=report.path, summary=summary.path, name=f"report{more}")
        return gate.passed, gate.reason
