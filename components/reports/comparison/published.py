"""Published scores, to stand beside measured ones where the model and the benchmark are the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel, ConfigDict, Field

from components.checkpoints import Checkpoint, derivation_of
from components.definitions import FOLDERS, load_definition
from components.judging import Column, Role
from components.references import transfers
from components.transfer import cast_dtype

KIND = "set of published scores"
PARENTS = (Role.SOURCE_BASE, Role.SOURCE_TUNED, Role.TARGET_BASE)


class PublishedScores(BaseModel):
    """One model's published scores."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    """Full name of a release, or of the transfer whose result it is."""
    harness: str
    """What the scores were measured with."""
    percent: dict[str, float]
    """Accuracy in percent by benchmark."""


class Study(BaseModel):
    """The content of a file of published scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    """As a reader finds it, for example `arXiv 2503.20110`."""
    results: tuple[PublishedScores, ...] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One model's published scores, to stand under the measured ones."""

    role: Role
    model: str
    source: str
    harness: str
    """What they were measured with."""
    cells: tuple[float | None, ...]
    """In score units and in the order of the columns; None where nothing was published."""


def published_rows(columns: Sequence[Column], known: Mapping[Role, str]) -> tuple[PublishedRow, ...]:
    """The published scores of models that are known by name, for the benchmarks among the columns.

    Args:
        columns: of the table that the rows are for.
        known: the name by which each model is known; empty for none.
    """
    rows = (
        PublishedRow(
            role=role,
            model=result.model,
            source=study.source,
            harness=result.harness,
            cells=tuple(_score(result, column.benchmark) for column in columns),
        )
        for role, name in known.items()
        for study in studies()
        for result in study.results
        if result.model == name
    )
    return tuple(row for row in rows if any(cell is not None for cell in row.cells))


def _score(result: PublishedScores, benchmark: str | None) -> float | None:
    percent = result.percent.get(benchmark) if benchmark else None
    return None if percent is None else percent / 100


@cache
def studies() -> tuple[Study, ...]:
    """Every set of published scores that ships."""
    paths = sorted(FOLDERS[KIND].glob("*.yaml"))
    return tuple(load_definition(KIND, str(path), Study)[0] for path in paths)


def known_as(role: Role, manifests: Mapping[Role, Checkpoint]) -> str:
    """The release that a model is, or the published transfer whose result it is; empty for neither.

    Args:
        role: of the model.
        manifests: of the models compared and of the source base, by role.
    """
    if role is not Role.RECYCLED:
        return manifests[role].origin.get("release", "")
    settings, tuned = derivation_of(manifests[role]).settings, manifests[Role.SOURCE_TUNED]
    # The published method: λ = 1, and all three checkpoints loaded in bfloat16.
    if settings["scale"] != "1.0" or cast_dtype(settings["dtype"], tuned.dtype) != "BF16":
        return ""
    parents = [manifests[parent].origin.get("release", "") for parent in PARENTS]
    published = (
        name
        for name, one in transfers().items()
        if [one.source_base, one.source_tuned, one.target_base] == parents and one.source_tuned
    )
    return next(published, "")
