"""The Hugging Face model card of a recycled model, or of one that was fine-tuned from it."""

from components.checkpoints import Checkpoint, derivation_of
from components.judging import Role
from components.system import escape_markdown
from components.tracking.registry import NewVersion

TEXT = """
# {shown}

{made} *fine-tuning transfer* ([arXiv 2503.20110](https://arxiv.org/abs/2503.20110)): the weight
change of an old fine-tune was added to a new base, `M_t + λ·(FT(M_s) − M_s)`, with λ = {scale} and the dtype policy
`{dtype}`{then}, by {software}.

| role | checkpoint | digest of its content |
| --- | --- | --- |
{parents}
| result | {shown} | `{digest}` |

## Evaluation

Suite `{suite}`, {harness}. Gate: **{gate}**. {reason}

| task | metric | score | samples |
| --- | --- | --- | --- |
{scores}
"""

DIGEST = 12
"""Hex digits that are shown of a digest; the version's tags have all of it."""
LATE = "A model on a newer release passed the gate before this one was made, and keeps the aliases that it has."


def render_front_matter(new: NewVersion) -> str:
    """What the hub reads of a card, to be put before it: parents, relation and results, as YAML between two lines."""
    from huggingface_hub import EvalResult, ModelCardData

    model, parents, evaluation = new.model, new.parents, new.evaluation
    is_tuned = Role.RECYCLED in parents
    bases = [parent for role, parent in parents.items() if role is not Role.RECYCLED]
    data = ModelCardData(
        base_model=[_hub_name(parent) for parent in bases],
        base_model_relation="finetune" if is_tuned else "merge",
        library_name="transformers",
        pipeline_tag="text-generation",
        license=parents[Role.TARGET_BASE].origin.get("license"),
        tags=["merge", "task-arithmetic", "finetuning-transfer"],
        model_name=model.name,
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
    return f"---\n{data.to_yaml()}\n---\n"


def render_model_card(new: NewVersion) -> str:
    """The card as Markdown that KFP's and MLflow's UI show as it is meant."""
    model, parents, evaluation = new.model, new.parents, new.evaluation
    is_tuned = Role.RECYCLED in parents
    transferred = derivation_of(parents.get(Role.RECYCLED, model))
    reason = f"{new.reason} {LATE}" if new.keeps_aliases else new.reason
    return TEXT.format(
        shown=escape_markdown(model.name),
        made="Begun with" if is_tuned else "Made without training by",
        scale=transferred.settings["scale"],
        dtype=transferred.settings["dtype"],
        then=_training(model) if is_tuned else "",
        software=escape_markdown(transferred.software),
        parents="\n".join(
            f"| {role} | {escape_markdown(_hub_name(parent))} | `{parent.digest[:DIGEST]}` |"
            for role, parent in parents.items()
        ),
        digest=model.digest[:DIGEST],
        suite=evaluation.suite,
        harness=escape_markdown(evaluation.harness),
        gate="passed" if new.passed else "failed",
        reason=escape_markdown(reason),
        scores="\n".join(
            f"| {escape_markdown(score.task)} | {escape_markdown(score.metric)} | {100 * score.score:.1f} % "
            f"| {score.samples} |"
            for score in evaluation.tasks
        ),
    )


def _training(model: Checkpoint) -> str:
    done = derivation_of(model).settings
    return f"; then fine-tuned by the recipe `{done['recipe']}` on {escape_markdown(done['dataset'])}"


def _hub_name(checkpoint: Checkpoint) -> str:
    return checkpoint.origin.get("repo", checkpoint.name)
