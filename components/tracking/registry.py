"""A model in MLflow's registry: by URI, with its lineage, never a second copy of the weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from components.checkpoints import Checkpoint, derivation_of
from components.judging import Evaluation, Role
from components.system import escape_markdown
from components.tracking.address import tracking_uri
from components.tracking.errors import exists_already, mlflow_errors
from components.tracking.runs import Tracker

CANDIDATE, CHAMPION = "candidate", "champion"
GATE_TAG = "recycle.gate"


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What is to be registered, and what is known of it."""

    model: Checkpoint
    """The recycled model, or what was fine-tuned from it."""
    parents: Mapping[Role, Checkpoint]
    """What it was made from; the recycled model among them where it was fine-tuned further."""
    evaluation: Evaluation
    passed: bool
    """Whether it passed the gate."""
    reason: str
    """Why."""
    keeps_aliases: bool = False
    """Whether a model on a newer release passed before, so that aliases which another version has stay there."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Where a model stands in the registry."""

    version: str
    is_new: bool
    """Whether it was registered just now; a run that is repeated finds the version of the first one."""
    holders: Mapping[str, str]
    """The version that each of `candidate` and `champion` leads to, as far as they lead to one."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Those of `candidate` and `champion` that lead to this version."""
        return tuple(alias for alias, version in self.holders.items() if version == self.version)

    @property
    def aliases_text(self) -> str:
        """Its aliases for people, and who keeps the others."""
        held = ", ".join(self.aliases)
        kept = [
            f"{alias} stays with version {version}"
            for alias, version in self.holders.items()
            if version != self.version
        ]
        return "; ".join(filter(None, [held, *kept]))


def register_model(new: NewVersion, model_name: str, tracker: Tracker) -> Registration:
    """Register a version, or find the one of the same content and verdict, and point the aliases at it.

    Args:
        new: what is registered.
        model_name: the registered model.
        tracker: of the running step.

    Returns:
        The version, and the aliases that the registry holds for it afterwards.

    Raises:
        ServiceUnavailable: MLflow does not answer, or refuses.
    """
    run_id = tracker.root_id or tracker.run_id
    with mlflow_errors():
        version, is_new = _find_or_create(tracker, new, model_name, run_id)
        holders = _holders(tracker, model_name)
        moved = aliases_to_move(
            int(version),
            holders,
            passed=new.passed,
            keeps_aliases=new.keeps_aliases,
            candidate_passed=_has_passed(tracker, model_name, holders.get(CANDIDATE), run_id),
        )
        for alias in moved:
            tracker.client.set_registered_model_alias(model_name, alias, version)
        held = _holders(tracker, model_name)
    ours = {alias: str(held[alias]) for alias in (CANDIDATE, CHAMPION) if alias in held}
    return Registration(version=version, is_new=is_new, holders=ours)


def version_tags(new: NewVersion) -> dict[str, str]:
    """What a version is found again by, and its lineage: digests, how it was made, and the gate's decision."""
    settings: dict[str, str] = {}
    # Of a model that was fine-tuned from the recycled one, both say how it was made.
    for made in (new.parents.get(Role.RECYCLED), new.model):
        settings |= derivation_of(made).settings if made else {}
    return {
        "recycle.digest": new.model.digest,
        "recycle.uri": new.model.uri,
        "recycle.suite": f"{new.evaluation.suite} {new.evaluation.suite_digest}",
        GATE_TAG: "passed" if new.passed else "failed",
        "recycle.gate_reason": new.reason,
        **{f"recycle.digest_of_{role.key}": parent.digest for role, parent in new.parents.items()},
        **{f"recycle.{key}": value for key, value in settings.items()},
    }


def aliases_to_move(
    version: int, holders: Mapping[str, int], *, passed: bool, keeps_aliases: bool, candidate_passed: bool
) -> tuple[str, ...]:
    """The aliases that are to lead to a version from now on, of those that do not yet.

    Every version becomes `candidate`; one that passed the gate becomes `champion` too. A newer version keeps what it
    has, so that running an old pipeline again moves nothing back.

    Args:
        version: the number of the version.
        holders: which version has each alias now.
        passed: whether the version passed the gate.
        keeps_aliases: whether it takes only what no version has.
        candidate_passed: whether the candidate is a version of the same pipeline run that passed; from that one, a
            version that failed takes nothing.
    """
    wanted = (CANDIDATE, CHAMPION) if passed else (CANDIDATE,)
    if keeps_aliases or (candidate_passed and not passed):
        return tuple(alias for alias in wanted if alias not in holders)
    return tuple(alias for alias in wanted if holders.get(alias, 0) < version)


def logged_model_name(name: str) -> str:
    """A checkpoint's name without the characters that MLflow refuses in a LoggedModel's, such as the dot of `3.1`."""
    return re.sub(r"[/:.%\"']", "-", name)


def _holders(tracker: Tracker, model_name: str) -> dict[str, int]:
    aliases = tracker.client.get_registered_model(model_name).aliases
    return {alias: int(version) for alias, version in aliases.items()}


def _has_passed(tracker: Tracker, model_name: str, version: int | None, run_id: str) -> bool:
    """Whether a version was made by this pipeline run and passed the gate."""
    if version is None:
        return False
    found = tracker.client.get_model_version(model_name, str(version))
    return found.run_id == run_id and found.tags.get(GATE_TAG) == "passed"


def _find_or_create(tracker: Tracker, new: NewVersion, model_name: str, run_id: str) -> tuple[str, bool]:
    """The version, and whether it was made just now."""
    tags = version_tags(new)
    for version in tracker.client.search_model_versions(f"name='{model_name}'"):
        if all(version.tags.get(key) == value for key, value in tags.items()):
            return str(version.version), False
    import mlflow

    external = mlflow.create_external_model(
        name=logged_model_name(new.model.name),
        source_run_id=run_id,
        tags=tags,
        model_type="recycled",
        experiment_id=tracker.client.get_run(run_id).info.experiment_id,
    )
    with exists_already():
        tracker.client.create_registered_model(model_name, description="Models made by fine-tuning transfer.")
    # A server refuses a folder as a version's source, since it could be its own; the LoggedModel then stands for it.
    is_refused = new.model.uri.startswith("file:") and tracking_uri().startswith("http")
    created = tracker.client.create_model_version(
        model_name,
        source=f"models:/{external.model_id}" if is_refused else new.model.uri,
        run_id=run_id,
        tags=tags,
        description=f"Made by fine-tuning transfer; see the run's model card. {escape_markdown(new.reason)}",
        model_id=external.model_id,
    )
    return str(created.version), True
