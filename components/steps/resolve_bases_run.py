"""The step between its parameters and its artifact."""

from dataclasses import dataclass
from pathlib import Path

from components.planning import LONGEST_CHAIN, check_scratch, check_values, choose, resolve_bases
from components.tracking import Step


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The step's parameters."""

    bases: str
    chain: bool
    scale: str
    dtype: str
    suite: str
    recipe: str
    gate_tolerance: float
    model_name: str


def resolve_bases_into(plan_path: str, run: Step, wanted: Wanted) -> tuple[object, ...]:
    """Complete and check every parameter, look at the bases, and write the plan.

    Returns:
        The bases and the pairs as loops take them, labels, suite, recipe, how many bases; then the references of the
        first five, pinned, and what state their files are in, empty for those that are not there.
    """
    chosen = choose(wanted.bases, suite=wanted.suite, recipe=wanted.recipe, chain=wanted.chain)
    check_values(
        scale=wanted.scale,
        dtype=wanted.dtype,
        suite=chosen.suite,
        recipe=chosen.recipe,
        gate_tolerance=wanted.gate_tolerance,
        model_name=wanted.model_name,
    )
    found = resolve_bases(chosen.references, scale=wanted.scale, dtype=wanted.dtype, chain=wanted.chain)
    check_scratch(found.scratch_needed)
    page = found.markdown()
    run.tracker.params({"bases": ", ".join(item["reference"] for item in found.items)})
    run.tracker.params({"suite": chosen.suite, "recipe": chosen.recipe, "scale": wanted.scale, "dtype": wanted.dtype})
    run.tracker.text(page, "plan.md")
    run.outcome.update(notes=list(found.warnings))
    Path(plan_path).write_text(page, encoding="utf-8")
    absent = {"reference": "", "state": ""}
    first = [*found.items, *([absent] * LONGEST_CHAIN)][:LONGEST_CHAIN]
    return (
        found.items,
        found.pairs,
        list(found.labels),
        chosen.suite,
        chosen.recipe,
        len(found.items),
        *(item["reference"] for item in first),
        *(item["state"] for item in first),
    )
