"""The Hugging Face model card of a recycled model."""

from components.checkpoint import Checkpoint, derivation_of
from components.evaluation import Evaluation

TEXT = """
# {name}

Made without training by *fine-tuning transfer* ([arXiv 2503.20110](https://arxiv.org/abs/2503.20110)): the weight
change of an old fine-tune was added to a new base, M_t + λ·(FT(M_s) − M_s), with λ = {scale} and the dtype policy
`{dtype}`, by {software}.

| role | checkpoint | digest of its content |
| --- | --- | --- |
{parents}
| result | {name} | `{digest}` |

## Evaluation

Suite `{suite}`, {harness}. Gate: **{gate}**. {reason}

| task | metric | score | samples |
| --- | --- | --- | --- |
{scores}
"""


def model_card(
    recycled: Checkpoint, parents: dict[str, Checkpoint], evaluation: Evaluation, *, passed: bool, reason: str
) -> str:
    """Markdown with the front matter that the hub reads: parents, relation and results."""
    from huggingface_hub import EvalResult, ModelCardData

    derivation = derivation_of(recycled)
    data = ModelCardData(
        base_model=[_hub_name(parent) for parent in parents.values()],
        base_model_relation="merge",
        library_name="transformers",
        pipeline_tag="text-generation",
        license=_licence(parents["target base"]),
        tags=["merge", "task-arithmetic", "finetuning-transfer"],
        model_name=recycled.name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=task.task,
                dataset_name=task.description,
                metric_type=task.metric.split(",")[0],
                metric_value=round(100 * task.score, 2),
            )
            for task in evaluation.tasks
        ],
    )
    text = TEXT.format(
        name=recycled.name,
        scale=derivation.settings["scale"],
        dtype=derivation.settings["dtype"],
        software=derivation.software,
        parents="\n".join(f"| {role} | {_hub_name(parent)} | `{parent.digest}` |" for role, parent in parents.items()),
        digest=recycled.digest,
        suite=evaluation.suite,
        harness=evaluation.harness,
        gate="passed" if passed else "failed",
        reason=reason,
        scores="\n".join(
            f"| {task.task} | {task.metric} | {100 * task.score:.1f} % | {task.samples} |" for task in evaluation.tasks
        ),
    )
    return f"---\n{data.to_yaml()}\n---\n{text}"


def _hub_name(checkpoint: Checkpoint) -> str:
    return checkpoint.origin.get("repo", checkpoint.name)


def _licence(target: Checkpoint) -> str | None:
    return target.origin.get("license")
