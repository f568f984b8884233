"""A model in MLflow's registry: by URI, with its lineage, never a second copy of the weights."""

import re
from dataclasses import dataclass

from components.checkpoints import Checkpoint, derivation_of
from components.judging import Evaluation
from components.tracking.runs import Tracker, mlflow_errors, tracking_uri

CANDIDATE, CHAMPION = "candidate", "champion"
GATE_TAG = "recycle.gate"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Where a model stands in the registry."""

    model_name: str
    version: str
    aliases: tuple[str, ...]


def register(
    *,
    tracker: Tracker,
    model_name: str,
    model: Checkpoint,
    parents: dict[str, Checkpoint],
    evaluation: Evaluation,
    passed: bool,
    reason: str,
    keeps_aliases: bool = False,
) -> Registration:
    """Register a version, or find the one of the same content and verdict, and point the aliases at it.

    Every version becomes `candidate`; one that passed the gate becomes `champion` too. But of one pipeline run, which
    may try several λ, a version that failed takes nothing from one that passed.

    Args:
        tracker: of the running step.
        model_name: the registered model.
        model: what is registered: the recycled model, or what was fine-tuned from it.
        parents: what it was made from, by role; `recycled` among them where it was fine-tuned further.
        evaluation: the model's.
        passed: whether the gate passed.
        reason: why.
        keeps_aliases: whether aliases that another version has stay there; the registration has those that it got.

    Raises:
        ServiceUnavailable: MLflow does not answer, or refuses.
    """
    # Of a model that was fine-tuned from the recycled one, both say how it was made.
    settings = dict(derivation_of(parents["recycled"]).settings) if "recycled" in parents else {}
    settings |= derivation_of(model).settings
    tags = {
        "recycle.digest": model.digest,
        "recycle.uri": model.uri,
        "recycle.suite": f"{evaluation.suite} {evaluation.suite_digest}",
        GATE_TAG: "passed" if passed else "failed",
        "recycle.gate_reason": reason,
        **{f"recycle.digest_of_{role.replace(' ', '_').replace('-', '_')}": it.digest for role, it in parents.items()},
        **{f"recycle.{key}": value for key, value in settings.items()},
    }
    run_id = tracker.parent_id or tracker.run_id
    with mlflow_errors():
        version = _find(tracker, model_name, tags) or _create(tracker, model_name, model, run_id, tags, reason)
        aliases: tuple[str, ...] = (CANDIDATE, CHAMPION) if passed else (CANDIDATE,)
        if keeps_aliases or (not passed and _has_passed(tracker, model_name, run_id)):
            held = tracker.client.get_registered_model(model_name).aliases
            aliases = tuple(alias for alias in aliases if str(held.get(alias, version)) == version)
        for alias in aliases:
            _advance(tracker, model_name, alias, version)
    return Registration(model_name=model_name, version=version, aliases=aliases)


def logged_model_name(name: str) -> str:
    """A checkpoint's name without the characters that MLflow refuses in a LoggedModel's, such as the dot of `3.1`."""
    return re.sub(r"[/:.%\"']", "-", name)


def _find(tracker: Tracker, model_name: str, tags: dict[str, str]) -> str | None:
    for version in tracker.client.search_model_versions(f"name='{model_name}'"):
        if all(version.tags.get(key) == value for key, value in tags.items()):
            return str(version.version)
    return None


def _advance(tracker: Tracker, model_name: str, alias: str, version: str) -> None:
    """Point an alias at a version, unless a newer one has it: rerunning an old pipeline moves nothing back."""
    holder = tracker.client.get_registered_model(model_name).aliases.get(alias, "0")
    if int(holder) < int(version):
        tracker.client.set_registered_model_alias(model_name, alias, version)


def _has_passed(tracker: Tracker, model_name: str, run_id: str) -> bool:
    """Whether `candidate` leads to a version of this run that passed the gate."""
    held = tracker.client.get_registered_model(model_name).aliases.get(CANDIDATE)
    holder = tracker.client.get_model_version(model_name, str(held)) if held else None
    return holder is not None and holder.run_id == run_id and holder.tags.get(GATE_TAG) == "passed"


def _create(
    tracker: Tracker, model_name: str, model: Checkpoint, run_id: str, tags: dict[str, str], reason: str
) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    experiment = tracker.client.get_run(run_id).info.experiment_id
    external = mlflow.create_external_model(
        name=logged_model_name(model.name),
        source_run_id=run_id,
        tags=tags,
        model_type="recycled",
        experiment_id=experiment,
    )
    # A server refuses a folder as a version's source, since it could be its own; the LoggedModel then stands for it.
    refused = model.uri.startswith("file:") and tracking_uri().startswith("http")
    try:
        tracker.client.create_registered_model(model_name, description="Models made by fine-tuning transfer.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = tracker.client.create_model_version(
        model_name,
        source=f"models:/{external.model_id}" if refused else model.uri,
        run_id=run_id,
        tags=tags,
        description=f"Made by fine-tuning transfer; its model card is the run's README.md. {reason}",
        model_id=external.model_id,
    )
    return str(created.version)
