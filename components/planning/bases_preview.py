"""Everything that can fail early, for several bases: names pinned, every two proved to fit, the cost told."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from components.checkpoints import Layout, fingerprint, read_layout
from components.forecast import forecast_by_gap, sampled_relative_gap
from components.planning.bases_request import labels
from components.planning.scratch import scratch_needed
from components.references import open_source
from components.system import escape_markdown, human_bytes
from components.transfer import TransferPlan, parse_scale, plan_transfer


@dataclass(frozen=True, kw_only=True)
class Found:
    """The bases of a run, and what lies between them."""

    bases: tuple[Layout, ...]
    labels: tuple[str, ...]
    """As many, of the references that the user gave."""
    plans: dict[tuple[int, int], TransferPlan]
    """By the indices of source and target, of every transfer of the run."""
    gaps: tuple[float, ...]
    """‖M_t − M_s‖/‖M_s‖ of each base and the next one, sampled."""

    @property
    def items(self) -> list[dict[str, str]]:
        """Each base as a loop takes it."""
        return [
            {
                "label": label,
                "tuned": f"{label} fine-tuned",
                "reference": base.source.reference,
                "state": fingerprint(base),
            }
            for label, base in zip(self.labels, self.bases, strict=True)
        ]

    @property
    def pairs(self) -> list[dict[str, str]]:
        """Each transfer as a loop takes it."""
        named = [(self.labels[source], self.labels[target]) for source, target in self.plans]
        return [{"source": source, "target": target, "label": f"{source} onto {target}"} for source, target in named]

    @property
    def scratch_needed(self) -> dict[str, int]:
        """Bytes that steps need on the disk that they work on, by step."""
        needs = [scratch_needed(plan, finetunes=True) for plan in self.plans.values()]
        steps = needs[0].keys() - {"connectivity"}  # which these pipelines do not have
        return {step: max(need[step] for need in needs) for step in sorted(steps)}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why a transfer may not work."""
        found = [forecast_by_gap(gap).warning for gap in self.gaps]
        steps = zip(pairwise(self.labels), found, strict=True)
        return tuple(f"{one} and {other}: {warning}" for (one, other), warning in steps if warning)

    def markdown(self) -> str:
        """What was found, as a page."""
        target = self.bases[0]
        written = sum(plan.bytes_to_write for plan in self.plans.values())
        needs = ", ".join(f"{human_bytes(size)} to {step}" for step, size in self.scratch_needed.items())
        facts = {
            "architecture": f"{target.architecture}, {target.parameters:,} parameters, {len(target.tensors)} tensors",
            "fine-tunes": str(len(self.bases)),
            "transfers": f"{len(self.plans)}, which write {human_bytes(written)}",
            "scratch": needs,
            **{f"WARNING {number}": text for number, text in enumerate(self.warnings, start=1)},
        }
        bases = "\n".join(
            f"| {label} | {escape_markdown(base.source.reference)} | {gap} |"
            for label, base, gap in zip(self.labels, self.bases, self._distances(), strict=True)
        )
        rows = "\n".join(f"| {name} | {escape_markdown(value)} |" for name, value in facts.items())
        return (
            f"# The bases are compatible\n\n| | |\n| --- | --- |\n{rows}\n\n"
            f"| base | reference | relative gap to the one before |\n| --- | --- | ---: |\n{bases}\n"
        )

    def _distances(self) -> list[str]:
        return ["", *(f"{gap:.3f}" for gap in self.gaps)]


def resolve_bases(references: Sequence[str], *, scale: str, dtype: str, chain: bool) -> Found:
    """Look at the bases without fetching their weights.

    Args:
        references: of the bases, oldest first.
        scale: λ.
        dtype: the dtype policy.
        chain: whether each base is for the next one, and not for every other one.

    Raises:
        RecycleError: a name leads nowhere, a checkpoint is not sound, or two do not fit.
    """
    bases = tuple(read_layout(open_source(reference)) for reference in references)
    indices = range(len(bases))
    # A fine-tune keeps its base's names, shapes and dtypes, so until it is made its base stands in for it.
    plans = {
        (source, target): plan_transfer(
            source_base=bases[source],
            source_tuned=bases[source],
            target_base=bases[target],
            scale=parse_scale(scale),
            dtype=dtype,
        )
        for source, target in (pairwise(indices) if chain else permutations(indices, 2))
    }
    return Found(
        bases=bases,
        labels=labels(references),
        plans=plans,
        gaps=tuple(sampled_relative_gap(one, other) for one, other in pairwise(bases)),
    )
