"""Everything that can fail early: names pinned, checkpoints proved to fit, the cost told; in seconds.

No weights are fetched but a sample of the bases'.
"""

from dataclasses import dataclass
from itertools import pairwise, permutations

from components import settings
from components.checkpoints import Layout, read_layout
from components.forecast import Belonging, Forecast, forecast_by_gap, sample_belonging, sampled_relative_gap
from components.planning.request import BasesRequest, TransferRequest
from components.planning.scratch import scratch_needed
from components.references import open_source
from components.system import escape_markdown, human_bytes
from components.transfer import TransferPlan, plan_transfer


@dataclass(frozen=True, kw_only=True)
class TransferPreview:
    """What a transfer would do, and between which checkpoints."""

    request: TransferRequest
    plan: TransferPlan
    gap: float
    """‖M_t − M_s‖/‖M_s‖, sampled."""
    belonging: Belonging | None
    """How far apart the three are, sampled; None while the fine-tuned model is still to be made."""

    @property
    def tuned_is_planned(self) -> bool:
        """Whether the fine-tuned model is still to be made from the source base."""
        return not self.request.source_tuned

    @property
    def source_base(self) -> str:
        """Reference, a hub revision pinned to its commit."""
        return self.plan.source_base.source.reference

    @property
    def source_tuned(self) -> str:
        """Reference, a hub revision pinned to its commit; empty while the model is still to be made."""
        return "" if self.tuned_is_planned else self.plan.source_tuned.source.reference

    @property
    def target_base(self) -> str:
        """Reference, a hub revision pinned to its commit."""
        return self.plan.target_base.source.reference

    @property
    def notes(self) -> tuple[str, ...]:
        """Differences between the checkpoints that are allowed and that a person should know."""
        return () if self.tuned_is_planned else self.plan.notes

    @property
    def forecast(self) -> Forecast:
        """Whether it will transfer, as far as a sample of the three tells."""
        return forecast_by_gap(self.gap, self.belonging.findings() if self.belonging else ())

    @property
    def scratch_needed(self) -> dict[str, int]:
        """Bytes that steps need on the disk that they work on, by step."""
        return scratch_needed(self.plan, finetunes=self.tuned_is_planned or self.request.continues)

    def facts(self) -> dict[str, str]:
        """What was found, for people."""
        plan = self.plan
        facts = {
            "source base": self.source_base,
            "source fine-tuned": self.source_tuned or "to be made from the source base",
            "target base": self.target_base,
            "architecture": _architecture(plan.target_base),
            "λ": str(self.request.scale),
            "dtype": ", ".join(sorted({tensor.dtype for shard in plan.shards for tensor in shard.tensors})),
            "relative gap": f"{self.gap:.3f} (‖M_t − M_s‖/‖M_s‖, sampled)",
            "will it transfer": str(self.forecast),
            "bytes to read": human_bytes(plan.bytes_to_read),
            "bytes to write": human_bytes(plan.bytes_to_write),
            "memory": f"{human_bytes(settings.memory())} of buffers at most (RECYCLE_MEMORY)",
            "disk": f"{human_bytes(plan.bytes_to_read + plan.bytes_to_write)} in the store",
            "scratch": _scratch(self.scratch_needed),
        }
        warnings = [text for text in (self.forecast.warning, *plan.warnings) if text]
        warned = {"WARNING" if number == 1 else f"WARNING {number}": text for number, text in enumerate(warnings, 1)}
        return warned | facts | {f"note {number}": note for number, note in enumerate(self.notes, start=1)}

    def markdown(self) -> str:
        """The facts as a page."""
        return _page("The checkpoints are compatible", self.facts())


@dataclass(frozen=True, kw_only=True)
class BasesPreview:
    """What a run over several bases would do, and what lies between them."""

    request: BasesRequest
    bases: tuple[Layout, ...]
    plans: dict[tuple[int, int], TransferPlan]
    """By the indices of source and target, of every transfer of the run."""
    gaps: tuple[float, ...]
    """‖M_t − M_s‖/‖M_s‖ of each base and the next one, sampled."""

    @property
    def references(self) -> tuple[str, ...]:
        """Of the bases, hub revisions pinned to their commits."""
        return tuple(base.source.reference for base in self.bases)

    @property
    def items(self) -> list[dict[str, str]]:
        """Each base as a loop takes it."""
        labelled = zip(self.request.labels, self.references, strict=True)
        return [
            {"label": label, "tuned": f"{label} fine-tuned", "reference": reference} for label, reference in labelled
        ]

    @property
    def pairs(self) -> list[dict[str, str]]:
        """The source, the target and the label of each transfer."""
        labels = self.request.labels
        named = [(labels[source], labels[target]) for source, target in self.plans]
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
        steps = zip(pairwise(self.request.labels), found, strict=True)
        return tuple(f"{one} and {other}: {warning}" for (one, other), warning in steps if warning)

    def markdown(self) -> str:
        """What was found, as a page."""
        written = sum(plan.bytes_to_write for plan in self.plans.values())
        facts = {
            "architecture": _architecture(self.bases[0]),
            "fine-tunes": str(len(self.bases)),
            "transfers": f"{len(self.plans)}, which write {human_bytes(written)}",
            "scratch": _scratch(self.scratch_needed),
            **{f"WARNING {number}": text for number, text in enumerate(self.warnings, start=1)},
        }
        distances = ["", *(f"{gap:.3f}" for gap in self.gaps)]
        bases = "\n".join(
            f"| {escape_markdown(label)} | {escape_markdown(reference)} | {gap} |"
            for label, reference, gap in zip(self.request.labels, self.references, distances, strict=True)
        )
        head = "| base | reference | relative gap to the one before |\n| --- | --- | ---: |"
        return f"{_page('The bases are compatible', facts)}\n{head}\n{bases}\n"


def preview_transfer(request: TransferRequest) -> TransferPreview:
    """Look at the three checkpoints of a request without fetching their weights.

    Raises:
        RecycleError: a name leads nowhere, a checkpoint is not sound, or they do not fit.
    """
    source, target = _look(request.source_base), _look(request.target_base)
    # A fine-tune keeps its base's names, shapes and dtypes, so until it is made its base stands in for it.
    tuned = _look(request.source_tuned) if request.source_tuned else source
    plan = plan_transfer(
        source_base=source, source_tuned=tuned, target_base=target, scale=request.scale, dtype=request.dtype
    )
    return TransferPreview(
        request=request,
        plan=plan,
        gap=sampled_relative_gap(source, target),
        belonging=sample_belonging(plan) if request.source_tuned else None,
    )


def preview_bases(request: BasesRequest) -> BasesPreview:
    """Look at the bases of a request without fetching their weights.

    Raises:
        RecycleError: a name leads nowhere, a checkpoint is not sound, or two do not fit.
    """
    bases = tuple(map(_look, request.bases))
    indices = range(len(bases))
    plans = {
        (source, target): plan_transfer(
            source_base=bases[source],
            source_tuned=bases[source],  # it stands in for its fine-tune, as above
            target_base=bases[target],
            scale=request.scale,
            dtype=request.dtype,
        )
        for source, target in (pairwise(indices) if request.chain else permutations(indices, 2))
    }
    gaps = tuple(sampled_relative_gap(one, other) for one, other in pairwise(bases))
    return BasesPreview(request=request, bases=bases, plans=plans, gaps=gaps)


def _look(reference: str) -> Layout:
    return read_layout(open_source(reference))


def _architecture(base: Layout) -> str:
    return f"{base.architecture}, {base.parameters:,} parameters, {len(base.tensors)} tensors"


def _scratch(needed: dict[str, int]) -> str:
    return ", ".join(f"{human_bytes(size)} to {step}" for step, size in needed.items())


def _page(title: str, facts: dict[str, str]) -> str:
    rows = "\n".join(f"| {name} | {escape_markdown(value)} |" for name, value in facts.items())
    return f"# {title}\n\n| | |\n| --- | --- |\n{rows}\n"
