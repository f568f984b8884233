"""Fitting a recipe to the hardware there is: processes, accumulation, and what makes it fit into memory."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from components.errors import BadCheckpoint, BadParameter
from components.finetune.recipe import OpenInstructRecipe

MICRO_BATCH = 1
"""Conversations a process takes at a time, whatever the memory: Open-Instruct averages the loss over the tokens of a
micro-batch, so any other number would weigh the conversations differently. Both published recipes have it too."""
STATE_BYTES = 16
"""Per parameter: bfloat16 weights and gradients, float32 weights, momentum and variance (2 + 2 + 3 · 4)."""
LIVE_PARAMETERS = 10**9
"""Weights that ZeRO-3 holds gathered at once (`stage3_max_live_parameters`), in bfloat16."""
LAYER_BYTES = 34
"""Per token and hidden unit of a transformer layer, without the attention matrix, which fused attention never
stores (Korthikanti et al. 2022, arXiv 2205.05198, section 4.1)."""
CHECKPOINT_BYTES = 2
"""The same where a layer's input alone is kept (gradient checkpointing)."""
LOGIT_BYTES = 10
"""Per token and vocabulary entry: bfloat16 logits, their float32 copy and its gradient."""
USABLE = 0.9
"""Of a GPU's memory; the rest goes to CUDA's context, NCCL's buffers and fragmentation."""
GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The devices and the memory that a training may use on one machine."""

    device: Literal["cuda", "cpu"]
    devices: int
    """GPUs, or processes on the CPU."""
    device_bytes: int
    """Memory of the smallest GPU, or the share of each process."""
    host_bytes: int
    """The machine's own memory, or what a container may have of it."""
    bfloat16: bool = True
    """Whether the devices compute in bfloat16."""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The numbers of a model that decide how much memory its training takes."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path, parameters: int) -> "ModelSize":
        """Read the sizes from a checkpoint's config.json.

        Raises:
            BadCheckpoint: it does not tell them.
        """
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
            layers, hidden, vocabulary = (
                int(config[key]) for key in ("num_hidden_layers", "hidden_size", "vocab_size")
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadCheckpoint(
                f"config.json of {folder} does not tell the model's sizes ({type(error).__name__}: {error})",
                hint="give a base of a decoder family such as Llama or OLMo 2",
            ) from None
        return cls(parameters=parameters, layers=layers, hidden=hidden, vocabulary=vocabulary)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Arguments that a training is started with.

    DeepSpeed runs ZeRO stage 3: of the stages it needs the least memory, and the paper has it.
    """

    device: Literal["cuda", "cpu"]
    processes: int
    accumulation: int
    """Micro-batches of each process that make an optimizer step."""
    gradient_checkpointing: bool
    """Layers' values are computed again in the backward pass: slower, and the same result."""
    offload: bool
    """Weights and optimizer lie in the machine's memory: slower still."""
    device_bytes: int
    """Estimated need of each device."""
    host_bytes: int
    """Estimated need of the machine's memory for offloading, all processes together."""

    @property
    def effective_batch_size(self) -> int:
        """Conversations of an optimizer step."""
        return self.processes * MICRO_BATCH * self.accumulation

    @property
    def params(self) -> dict[str, object]:
        """Parameters that the record of a training has of its launch."""
        return {f"launch {name.replace('_', ' ')}": value for name, value in asdict(self).items()}


def fit(recipe: OpenInstructRecipe, hardware: Hardware, size: ModelSize) -> Launch:
    """Spread a recipe's batch over the devices, with as little saving of memory as will do.

    The need of a device is estimated as 16·Ψ/N bytes for Ψ parameters on N devices (Rajbhandari et al. 2020, ZeRO,
    arXiv 1910.02054, sections 3.1 and 5.3: mixed-precision Adam, all of it sharded in stage 3), the layers that are
    gathered at a time, the activations of one conversation of the recipe's full length, and its logits.

    Raises:
        BadParameter: the batch does not divide over the devices, they do not compute in bfloat16, or the training
            would not fit into their memory.
    """
    if not hardware.bfloat16:
        raise BadParameter(
            f"{hardware.name or 'the GPU'} does not compute in bfloat16, which Open-Instruct trains in",
            hint="use GPUs of compute capability 8.0 or newer, such as A100 or H100",
        )
    if recipe.effective_batch_size % (hardware.devices * MICRO_BATCH):
        raise _does_not_divide(recipe, hardware)
    for checkpointing, offload in ((False, False), (True, False), (True, True)):
        launch = _launch(recipe, hardware, size, checkpointing=checkpointing, offload=offload)
        if _fits(launch, hardware):
            return launch
        if hardware.device == "cpu":
            break  # it has no other memory to offload to, and none to save by recomputing that would be worth it
    raise _does_not_fit(recipe, hardware, size, launch)


def _launch(
    recipe: OpenInstructRecipe, hardware: Hardware, size: ModelSize, *, checkpointing: bool, offload: bool
) -> Launch:
    states = STATE_BYTES * size.parameters
    gathered = 2 * min(size.parameters, LIVE_PARAMETERS)
    tokens = MICRO_BATCH * recipe.max_sequence_length
    one_layer = LAYER_BYTES * tokens * size.hidden
    layers = (
        CHECKPOINT_BYTES * tokens * size.hidden * size.layers + one_layer if checkpointing else one_layer * size.layers
    )
    logits = LOGIT_BYTES * tokens * size.vocabulary
    return Launch(
        device=hardware.device,
        processes=hardware.devices,
        accumulation=recipe.effective_batch_size // (hardware.devices * MICRO_BATCH),
        gradient_checkpointing=checkpointing,
        offload=offload,
        device_bytes=(0 if offload else states // hardware.devices) + gathered + layers + logits,
        host_bytes=states if offload else 0,
    )


def _fits(launch: Launch, hardware: Hardware) -> bool:
    return launch.device_bytes <= USABLE * hardware.device_bytes and launch.host_bytes <= USABLE * hardware.host_bytes


def _does_not_divide(recipe: OpenInstructRecipe, hardware: Hardware) -> BadParameter:
    fewer = max(n for n in range(1, hardware.devices + 1) if recipe.effective_batch_size % n == 0)
    what = "GPUs" if hardware.device == "cuda" else "processes"
    how = f"CUDA_VISIBLE_DEVICES={','.join(map(str, range(fewer)))}" if hardware.device == "cuda" else "fewer processes"
    return BadParameter(
        f"the recipe {recipe.name} learns from {recipe.effective_batch_size} conversations a step, which do not divide "
        f"over {hardware.devices} {what}",
        hint=f"run on {fewer} of them ({how}), or change effective_batch_size in a recipe of your own",
    )


def _does_not_fit(recipe: OpenInstructRecipe, hardware: Hardware, size: ModelSize, tried: Launch) -> BadParameter:
    spared = "with gradient checkpointing and offloading" if tried.offload else "at least"
    host = f" and {tried.host_bytes / GB:.0f} GB of the machine's {hardware.host_bytes / GB:.0f} GB" * tried.offload
    devices = f"{hardware.devices} × {hardware.name or hardware.device} with {hardware.device_bytes / GB:.1f} GB{host}"
    return BadParameter(
        f"training {size.parameters / GB:.2f} billion parameters at {recipe.max_sequence_length} tokens would take "
        f"{spared} about {tried.device_bytes / GB:.1f} GB on each of {devices}, of which {USABLE:.0%} can be used",
        hint=_more(recipe, hardware, size),
    )


def _more(recipe: OpenInstructRecipe, hardware: Hardware, size: ModelSize) -> str:
    """A hint on how many devices of the same kind would be enough."""
    shorter = "shorten max_sequence_length in a recipe of your own"
    if hardware.device == "cpu":
        return f"use a machine with GPUs, or {shorter}"
    for devices in range(hardware.devices + 1, recipe.effective_batch_size + 1):
        more = Hardware(**asdict(hardware) | {"devices": devices})
        if recipe.effective_batch_size % devices == 0 and _fits(
            _launch(recipe, more, size, checkpointing=True, offload=False), more
        ):
            return f"use {devices} such GPUs, or larger ones, or {shorter}"
    return f"use larger GPUs or a machine with more memory, or {shorter}"
