"""What `recycle families` shows."""

from typing import Any

from components.references import Family, families
from components.system import text_table


def facts() -> dict[str, Any]:
    """Every family with its releases and published transfers by full name, as one JSON object."""
    return {family.name: _facts(family) for family in families().values()}


def listing() -> str:
    """Every family as text, with a table of its releases and one of its transfers."""
    return "\n\n".join(_text(family) for family in families().values())


def _facts(family: Family) -> dict[str, Any]:
    return {
        "description": family.description,
        "releases": {f"{family.name}:{one.name}": one.model_dump(exclude={"name"}) for one in family.releases},
        "transfers": {
            f"{family.name}:{one.name}": one.model_dump(exclude={"name"}) for one in family.named_transfers()
        },
    }


def _text(family: Family) -> str:
    releases = [("release", "on the hub", "fine-tune of")]
    releases += [
        (f"{family.name}:{one.name}", f"{one.repo}@{one.revision}", one.base or "-") for one in family.releases
    ]
    transfers = [("transfer", "source base", "source fine-tuned", "target base", "suite")]
    transfers += [
        (
            f"{family.name}:{one.name}",
            one.source_base,
            one.source_tuned or f"made by {one.recipe}",
            one.target_base,
            one.suite,
        )
        for one in family.named_transfers()
    ]
    return f"{family.description}\n\n{text_table(releases)}\n\n{text_table(transfers)}"
