"""Do the three checkpoints belong together? Distances between them, from a sample of their weights.

A fine-tune is near its base: a few percent of ‖M_s‖ away, where two models trained apart are about √2 away. What is as
far from its base as from a stranger was made from other weights, and its diff vector is the difference of two models.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from components.checkpoints import DTYPE_BYTES, Layout, read_object
from components.forecast.gap import SAMPLED_ELEMENTS, SAMPLED_TENSORS, widen
from components.transfer import ROLES, Part, TransferPlan

STRANGE = 0.7
"""‖FT − M_s‖ / ‖M_s‖ of a fine-tune that is none of this base: half of what models trained apart have, about √2."""


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """How far apart three checkpoints are, over ‖M_s‖."""

    update: float
    """‖FT(M_s) − M_s‖."""
    to_target: float
    """‖FT(M_s) − M_t‖."""
    gap: float
    """‖M_t − M_s‖."""
    nonfinite: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By role, the first tensor with NaN or infinite elements, and how many of all that were looked at."""
    template_only_in_base: bool = False
    """Whether the source base has a chat template and the fine-tune has none."""

    def findings(self) -> Iterator[str]:
        """What speaks against it, each in a sentence that names what it looks like."""
        for role, (tensor, count) in self.nonfinite.items():
            yield (
                f"{count:,} of the weights of the {role} that were looked at are NaN or infinite, such as in {tensor}: "
                "the result has them too."
            )
        if not self.update and self.gap:
            yield "The source fine-tuned model equals its base: is one checkpoint named twice?"
        elif self.update >= STRANGE:
            yield (
                "The fine-tuned model does not look like one of this source base: ‖FT − M_s‖/‖M_s‖ is "
                f"{self.update:.2f}, and models trained apart have about 1.41."
            )
        elif self.to_target < self.update and self.gap:
            yield (
                f"The fine-tuned model is nearer to the target base than to its source base ({self.to_target:.2f} and "
                f"{self.update:.2f} of ‖M_s‖): was it made from the target, or are the two bases exchanged?"
            )
        if self.template_only_in_base:
            yield (
                "The source base has a chat template and the fine-tuned model has none: are the two exchanged, or is "
                "the source base itself a fine-tune?"
            )


def sample_belonging(plan: TransferPlan) -> Belonging:
    """Measure three checkpoints by the middle of up to 32 of their matrices, as the plan brings them together.

    Raises:
        RecycleError: they cannot be read.
    """
    parts = [part for shard in plan.shards for part in shard.parts if _is_matrix(part)]
    squares = dict.fromkeys(("source", "update", "target", "gap"), 0.0)
    nonfinite: dict[str, tuple[str, int]] = {}
    for part in parts[:: max(1, math.ceil(len(parts) / SAMPLED_TENSORS))]:
        values = {role: _sample(plan.layouts[role], part, role) for role in ROLES}
        for role, found in values.items():
            lost = int((~np.isfinite(found)).sum())
            if lost:
                first, count = nonfinite.get(role, (part.inputs[role].tensor.entry.name, 0))
                nonfinite[role] = first, count + lost
        finite = np.logical_and.reduce([np.isfinite(found) for found in values.values()])
        source, tuned, target = (found[finite] for found in values.values())
        for name, difference in (
            ("source", source),
            ("update", tuned - source),
            ("target", tuned - target),
            ("gap", target - source),
        ):
            squares[name] += float(np.square(difference).sum())
    norm = squares["source"] or 1.0
    base, tuned_layout, _ = plan.layouts.values()
    return Belonging(
        update=math.sqrt(squares["update"] / norm),
        to_target=math.sqrt(squares["target"] / norm),
        gap=math.sqrt(squares["gap"] / norm),
        nonfinite=nonfinite,
        template_only_in_base=has_template(base)
        and not has_template(tuned_layout)
        and tuned_layout.vocabulary is not None,
    )


def has_template(layout: Layout) -> bool:
    """Whether a checkpoint brings a chat template."""
    if any(file.path.startswith(("chat_template.", "additional_chat_templates/")) for file in layout.files):
        return True
    name = "tokenizer_config.json"
    return layout.has(name) and bool(read_object(layout.source, name).get("chat_template"))


def _is_matrix(part: Part) -> bool:
    return part.is_computed and all(len(slice_.tensor.entry.shape) > 1 for slice_ in part.inputs.values())


def _sample(layout: Layout, part: Part, role: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    slice_ = part.inputs[role]
    entry = slice_.tensor.entry
    count = min(SAMPLED_ELEMENTS, part.elements)
    first = slice_.start + (part.elements - count) // 2
    width = DTYPE_BYTES[entry.dtype]
    raw = layout.source.read(slice_.tensor.file, entry.start + first * width, count * width)
    return widen(np.frombuffer(raw, dtype=np.uint8), entry.dtype)
