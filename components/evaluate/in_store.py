"""Evaluations kept in the store: the same model on the same suite is never asked twice, a changed one always is."""

from importlib.metadata import version

from components.checkpoint import Checkpoint, digest_of
from components.evaluate.suite import Suite
from components.evaluation import Evaluation
from components.reference import local_folder
from components.store import FolderStore
from components.work import discard


def evaluate_in_store(checkpoint: Checkpoint, suite: Suite, store: FolderStore) -> Evaluation:
    """Evaluate `checkpoint` on `suite` (see `components.evaluate.run.evaluate`)."""
    software = [version(package) for package in ("lm_eval", "transformers", "torch")]
    key = digest_of([Evaluation.model_fields["schema_version"].default, checkpoint.digest, suite.digest, *software])
    done = _recall(store, key) or _evaluate(checkpoint, suite, store, key)
    return done.model_copy(update={"model_name": checkpoint.name})


def _recall(store: FolderStore, key: str) -> Evaluation | None:
    done = store.recall("evaluation", key)
    return Evaluation.model_validate_json(done) if done is not None else None


def _evaluate(checkpoint: Checkpoint, suite: Suite, store: FolderStore, key: str) -> Evaluation:
    from components.evaluate.run import evaluate

    with store.staging(f"evaluate-{key}") as scratch:
        done = _recall(store, key)
        if done is None:
            done = evaluate(
                model=local_folder(checkpoint),
                model_name=checkpoint.name,
                model_digest=checkpoint.digest,
                suite=suite,
                scratch=scratch,
            )
            store.remember("evaluation", key, done.model_dump_json())
        discard(scratch)
    return done
