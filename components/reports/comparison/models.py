"""What a report tells of each compared model, besides its scores."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.checkpoints import Checkpoint
from components.judging import Evaluation, Role
from components.reports.comparison.published import known_as


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One model of the comparison."""

    role: Role
    evaluation: Evaluation
    lineage: tuple[tuple[str, str], ...]
    """Label and value, for example `("digest", "…")`, `("from", "hub org/name@commit")`, `("stored at", "file:///…")`."""
    known_as: str = ""
    """Full name of the release that it is, or of the published transfer whose result it is; empty for neither."""


def compared_models(
    evaluations: Mapping[Role, Evaluation], manifests: Mapping[Role, Checkpoint]
) -> tuple[ComparedModel, ...]:
    """The compared models, in the order of their evaluations.

    Args:
        evaluations: of the compared models.
        manifests: of the compared models and of the source base.
    """
    return tuple(
        ComparedModel(
            role=role,
            evaluation=evaluation,
            lineage=_lineage(manifests[role]),
            known_as=known_as(role, manifests),
        )
        for role, evaluation in evaluations.items()
    )


def _lineage(checkpoint: Checkpoint) -> tuple[tuple[str, str], ...]:
    rows = [("name", checkpoint.name), ("digest", checkpoint.digest), ("stored at", checkpoint.uri)]
    origin = checkpoint.origin
    if origin.get("kind") == "hub":
        rows.append(("from", f"hub {origin['repo']}@{origin['commit']} (asked for as {origin['revision']})"))
        rows += [("release", origin["release"])] if "release" in origin else []
    elif origin:
        rows.append(("from", ", ".join(f"{key} {value}" for key, value in origin.items())))
    if checkpoint.derivation:
        rows.append(("made by", f"{checkpoint.derivation.method}, {checkpoint.derivation.software}"))
        rows += [(f"from {role}", digest) for role, digest in checkpoint.derivation.parents.items()]
        rows += list(checkpoint.derivation.settings.items())
    return tuple(rows)
