"""Evaluations kept in the store: the same model on the same suite is never asked twice, a changed one always is."""

from importlib.metadata import version
from pathlib import Path

from components.checkpoint import Checkpoint, digest_of
from components.evaluate.suite import Suite
from components.evaluation import Evaluation
from components.reference import local_folder
from components.store import FolderStore
from components.work import discard


def evaluate_in_store(checkpoint: Checkpoint, suite: Suite, store: FolderStore) -> Evaluation:
    """Evaluate `checkpoint` on `suite` (see `components.evaluate.run.evaluate`)."""
    key = digest_of([checkpoint.digest, suite.digest, version("lm_eval"), version("transformers"), version("torch")])
    done = store.recall("evaluation", key)
    if done is not None:
        return Evaluation.model_validate_json(done).model_copy(update={"model_name": checkpoint.name})
    from components.evaluate.run import evaluate

    with store.staging(f"evaluate-{key}") as scratch:
        made = evaluate(
            model=local_folder(checkpoint),
            model_name=checkpoint.name,
            model_digest=checkpoint.digest,
            suite=suite,
            scratch=Path(scratch),
        )
        store.remember("evaluation", key, made.model_dump_json())
        discard(scratch)
    return made
