"""Evaluations kept in the store: the same model on the same suite is never asked twice, a changed one always is."""

from importlib.metadata import version
from pathlib import Path

from components.checkpoint import Checkpoint, digest_of
from components.evaluate.suite import Suite
from components.evaluation import Evaluation
from components.reference import local_copy
from components.store import Store


def evaluate_in_store(checkpoint: Checkpoint, suite: Suite, store: Store) -> Evaluation:
    """Evaluate `checkpoint` on `suite` (see `components.evaluate.run.evaluate`)."""
    software = [version(package) for package in ("lm_eval", "transformers", "torch")]
    key = digest_of([Evaluation.model_fields["schema_version"].default, checkpoint.digest, suite.digest, *software])

    def recall() -> Evaluation | None:
        done = store.recall("evaluation", key)
        return Evaluation.model_validate_json(done) if done is not None else None

    def make(scratch: Path) -> Evaluation:
        from components.evaluate.run import evaluate

        with local_copy(checkpoint, store) as model:
            made = evaluate(
                model=model,
                model_name=checkpoint.name,
                model_digest=checkpoint.digest,
                suite=suite,
                scratch=scratch,
            )
        store.remember("evaluation", key, made.model_dump_json())
        return made

    return store.once(f"evaluate-{key}", recall, make).model_copy(update={"model_name": checkpoint.name})
