from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components.steps.component import component


@component
def evaluate(
    checkpoint: Input[Model], role: str, suite: str, evaluation: Output[Artifact], scores: Output[Metrics]
) -> None:
    """Ask a model every question of a suite, and keep each answer."""
    from pathlib import Path

    from components.evaluate import evaluate_in_store, load_suite
    from components.steps.artifacts import log_metrics, read_checkpoint
    from components.store import open_store
    from components.tracking import step

    with step(f"evaluate {role}") as run:
        found = evaluate_in_store(read_checkpoint(checkpoint), load_suite(suite), open_store())
        run.tracker.params({"suite": found.suite, "suite digest": found.suite_digest, "harness": found.harness})
        run.tracker.metrics(found.metrics())
        run.outcome[f"scores of {role}"] = found.metrics()
        evaluation.metadata["role"] = role
        found.write(Path(evaluation.path))
        log_metrics(scores, found.metrics())
