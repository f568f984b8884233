"""Everything that can fail early: names pinned, the three checkpoints proved to fit, the cost told; in seconds."""

from dataclasses import dataclass

from components import settings
from components.checkpoints import fingerprint, read_layout
from components.forecast import Forecast, forecast_by_gap, sampled_relative_gap
from components.planning.scratch import scratch_needed
from components.references import open_source
from components.system import human_bytes
from components.transfer import Scale, TransferPlan, parse_scale, plan_transfer


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a transfer would do, and between which checkpoints."""

    plan: TransferPlan
    scale: Scale
    gap: float
    tuned_is_planned: bool
    """Whether the fine-tuned model is still to be made from the source base."""
    continues: bool = False
    """Whether the recycled model is fine-tuned further."""

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
    def states(self) -> tuple[str, str, str]:
        """What state the files of the three are in, of a model still to be made those of its base."""
        return (
            fingerprint(self.plan.source_base),
            fingerprint(self.plan.source_tuned),
            fingerprint(self.plan.target_base),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Differences between the checkpoints that are allowed and that a person should know."""
        return () if self.tuned_is_planned else self.plan.notes

    @property
    def forecast(self) -> Forecast:
        """Whether it will transfer, as far as a sample of the bases tells."""
        return forecast_by_gap(self.gap)

    @property
    def disk_bytes(self) -> int:
        """Room that the store needs for the three inputs and the result."""
        return self.plan.bytes_to_read + self.plan.bytes_to_write

    @property
    def scratch_needed(self) -> dict[str, int]:
        """Bytes that steps need on the disk that they work on, by step."""
        return scratch_needed(self.plan, finetunes=self.tuned_is_planned or self.continues)

    def facts(self) -> dict[str, str]:
        """What was found, for people."""
        target = self.plan.target_base
        facts = {
            "source base": self.source_base,
            "source fine-tuned": self.source_tuned or "to be made from the source base",
            "target base": self.target_base,
            "architecture": f"{target.architecture}, {target.parameters:,} parameters, {len(target.tensors)} tensors",
            "λ": str(self.scale),
            "dtype": ", ".join(sorted({tensor.dtype for shard in self.plan.shards for tensor in shard.tensors})),
            "relative gap": f"{self.gap:.3f} (‖M_t − M_s‖/‖M_s‖, sampled)",
            "will it transfer": str(self.forecast),
            "bytes to read": human_bytes(self.plan.bytes_to_read),
            "bytes to write": human_bytes(self.plan.bytes_to_write),
            "memory": f"{human_bytes(settings.memory())} of buffers at most (RECYCLE_MEMORY)",
            "disk": f"{human_bytes(self.disk_bytes)} in the store",
            "scratch": ", ".join(f"{human_bytes(needs)} to {step}" for step, needs in self.scratch_needed.items()),
        }
        warned = {"WARNING": self.forecast.warning} if self.forecast.warning else {}
        return warned | facts | {f"note {number}": note for number, note in enumerate(self.notes, start=1)}

    def markdown(self) -> str:
        """The same as a page."""
        rows = "\n".join(f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in self.facts().items())
        return f"# The checkpoints are compatible\n\n| | |\n| --- | --- |\n{rows}\n"


def resolve(
    *, source_base: str, source_tuned: str, target_base: str, scale: str, dtype: str, continues: bool = False
) -> Resolution:
    """Look at the three checkpoints without fetching their weights.

    Args:
        source_base: reference of M_s.
        source_tuned: reference of FT(M_s), or empty where it is still to be made from M_s.
        target_base: reference of M_t.
        scale: λ.
        dtype: the dtype policy.
        continues: whether the recycled model is fine-tuned further.

    Raises:
        RecycleError: a name leads nowhere, a checkpoint is not sound, or they do not fit.
    """
    parsed = parse_scale(scale)
    source, target = read_layout(open_source(source_base)), read_layout(open_source(target_base))
    # A fine-tune keeps its base's names, shapes and dtypes, so until it is made its base stands in for it.
    tuned = read_layout(open_source(source_tuned)) if source_tuned else source
    plan = plan_transfer(source_base=source, source_tuned=tuned, target_base=target, scale=parsed, dtype=dtype)
    return Resolution(
        plan=plan,
        scale=parsed,
        gap=sampled_relative_gap(source, target),
        tuned_is_planned=not source_tuned,
        continues=continues,
    )
