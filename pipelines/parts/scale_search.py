"""A search of λ beside the main line of `recycle`."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model

from components.steps.choose_scale import choose_scale
from components.steps.compare import compare
from components.steps.evaluate import evaluate
from components.steps.register import register
from components.steps.transfer import transfer
from pipelines.parts.judged import evaluated
from pipelines.parts.tasks import parallelism, pipeline, task

CHOSEN = "recycled at the chosen scale"


@pipeline()
def search_scale(
    source_base: Input[Model],
    source_tuned: Input[Model],
    target_base: Input[Model],
    recycled: Input[Model],
    target_base_evaluation: Input[Artifact],
    recycled_evaluation: Input[Artifact],
    source_tuned_evaluation: Input[Artifact],
    statistics: Input[Artifact],
    forecast: Input[Artifact],
    notes: list,  # type: ignore[type-arg] # the form that KFP reads
    points: list,  # type: ignore[type-arg]
    dtype: str,
    suite: str,
    quick_suite: str,
    gate_tolerance: float,
    model_name: str,
) -> None:
    """Try further λ on a quick suite, and judge the best on the whole one where it is clearly better.

    Args:
        source_base: M_s.
        source_tuned: FT(M_s).
        target_base: M_t.
        recycled: the model at λ as it was set.
        target_base_evaluation: on the whole suite.
        recycled_evaluation: on the whole suite.
        source_tuned_evaluation: on the whole suite.
        statistics: of the main line's transfer.
        forecast: whether it was expected to work.
        notes: what planning found worth saying.
        points: λ and role of each further model.
        dtype: the dtype policy.
        suite: the whole suite.
        quick_suite: the suite for the search.
        gate_tolerance: how far below the source fine-tuned model the recycled one may score.
        model_name: the registered model in MLflow.
    """
    quick = evaluated(recycled, "recycled, for the search", quick_suite)
    with dsl.ParallelFor(points, parallelism=parallelism(), name="each scale") as point:
        made = task(
            transfer(
                source_base=source_base,
                source_tuned=source_tuned,
                target_base=target_base,
                scale=point.scale,
                dtype=dtype,
                role=point.role,
            ),
            "transfer at another scale",
        )
        scored = task(
            evaluate(checkpoint=made.outputs["recycled"], role=point.role, suite=quick_suite),
            "evaluate at another scale",
        )
    choice = task(
        choose_scale(
            recycled=recycled,
            statistics=statistics,
            evaluation=quick,
            others=dsl.Collected(made.outputs["recycled"]),
            other_statistics=dsl.Collected(made.outputs["statistics"]),
            other_evaluations=dsl.Collected(scored.outputs["evaluation"]),
            notes=notes,
        ),
        "choose the scale",
    )
    # KFP's local runner takes a task's output of any other name for a parameter of the pipeline, and skips the box.
    with dsl.If(choice.outputs["Output"] == True, name="if another scale is better"):  # noqa: E712 - KFP overloads ==
        chosen = choice.outputs["chosen"]
        evaluation = evaluated(chosen, CHOSEN, suite)
        verdict = task(
            compare(
                source_base=source_base,
                target_base=target_base,
                recycled=chosen,
                source_tuned=source_tuned,
                target_base_evaluation=target_base_evaluation,
                recycled_evaluation=evaluation,
                source_tuned_evaluation=source_tuned_evaluation,
                statistics=choice.outputs["chosen_statistics"],
                forecast=forecast,
                notes=choice.outputs["notes"],
                gate_tolerance=gate_tolerance,
                first_evaluation=recycled_evaluation,
            ),
            "compare at the chosen scale",
        )
        task(
            register(
                recycled=chosen,
                source_base=source_base,
                source_tuned=source_tuned,
                target_base=target_base,
                evaluation=evaluation,
                passed=verdict.outputs["passed"],
                reason=verdict.outputs["reason"],
                model_name=model_name,
                role=CHOSEN,
            ),
            "register at the chosen scale",
        )
