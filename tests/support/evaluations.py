"""Made-up evaluations."""

from components.judging.evaluation import Evaluation, Sample, TaskScore

SUITE_DIGEST = "c0ffee" * 10 + "beef"


def build_evaluation(
    scores: dict[str, list[float]], *, name: str = "model", reply: str = "42", **changes
) -> Evaluation:
    """An evaluation with these scores, sample `i` of each task having the id `str(i)`."""
    fields = {
        "suite": "demo",
        "suite_digest": SUITE_DIGEST,
        "harness": "lm-eval 0.4.13",
        "model_name": name,
        "model_digest": "0" * 64,
        "seconds": 12.3,
        "tasks": tuple(
            TaskScore(
                task=task,
                description=f"what {task} asks",
                metric="exact match",
                score=sum(values) / len(values),
                samples=len(values),
            )
            for task, values in scores.items()
        ),
        "samples": tuple(
            Sample(task=task, id=str(i), question=f"question {i} of {task}", expected="42", reply=reply, score=value)
            for task, values in scores.items()
            for i, value in enumerate(values)
        ),
    }
    return Evaluation(**(fields | changes))
