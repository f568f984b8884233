"""What steps keep on their scratch volumes, and whether it fits there."""

from collections.abc import Mapping

from components import settings
from components.errors import BadParameter
from components.system import human_bytes
from components.transfer import TransferPlan

BESIDE = 2 * 2**30
"""Bytes for data sets, compiled code and logs beside the models."""
TRAINING_COPIES = 2
"""Training checkpoints that are there at once: the last complete one, and the one that is being written."""
TRAINING_BYTES = 14
"""Of a parameter in a training checkpoint: weights in bfloat16, and in float32 with Adam's two moments (ZeRO,
arXiv 1910.02054, section 3.1, less the gradients)."""


def scratch_needed(plan: TransferPlan, *, finetunes: bool) -> dict[str, int]:
    """Bytes that steps need on their scratch volumes, by step.

    `connectivity` has a copy of both bases, `evaluate` one of one model and a view of it; `finetune` one of the base,
    its training checkpoints, and the result twice, gathered and as it is published. The other steps move bytes from
    store to store.
    """
    models = (plan.source_base, plan.source_tuned, plan.target_base)
    needed = {
        "connectivity": plan.source_base.weight_bytes + plan.target_base.weight_bytes + BESIDE,
        "evaluate": 2 * max(model.weight_bytes for model in models) + BESIDE,
    }
    if finetunes:
        base = plan.source_base
        training = TRAINING_COPIES * TRAINING_BYTES * base.parameters
        needed["finetune"] = base.weight_bytes + training + 2 * 2 * base.parameters + BESIDE
    return needed


def check_scratch(needed: Mapping[str, int]) -> None:
    """Refuse a run whose steps would fill their scratch volumes.

    Raises:
        BadParameter: a step's volume, where its size is known, is smaller than what the step needs.
    """
    for step, needs in needed.items():
        has = settings.scratch(step)
        if has is not None and has < needs:
            raise BadParameter(
                f"{step} needs about {human_bytes(needs)} on its scratch volume, which has {human_bytes(has)}",
                hint=f"submit the run with --set {step}.scratch={-(-needs // 2**30)}Gi",
            )
