"""Evaluations kept in the store: the same model on the same suite is never asked twice, a changed one always is."""

from pathlib import Path

from components.checkpoints import Checkpoint, digest_of
from components.evaluate.harness import evaluate, find_harness
from components.evaluate.suite import Suite
from components.judging import Evaluation
from components.store import Store, local_copy


def evaluate_in_store(checkpoint: Checkpoint, suite: Suite, store: Store) -> Evaluation:
    """Evaluate `checkpoint` on `suite` (see `components.evaluate.harness.evaluate`).

    What was found before holds for the same weights, the same suite with its task files and local data, and the same
    harness: its version, an edited checkout, and what runs the model.
    """
    harness = find_harness(suite)
    schema = Evaluation.model_fields["schema_version"].default
    key = digest_of([schema, checkpoint.digest, suite.digest, harness.identity])

    def make(scratch: Path) -> Evaluation:
        with local_copy(checkpoint, store) as model:
            return evaluate(
                model=model,
                model_name=checkpoint.name,
                model_digest=checkpoint.digest,
                suite=suite,
                harness=harness,
                scratch=scratch,
            )

    found = store.get_or_create_document("evaluation", key, Evaluation, make)
    return found.model_copy(update={"model_name": checkpoint.name})
