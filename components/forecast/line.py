"""Forward passes along the straight line between two bases: (1 − α)·M_s + α·M_t.

One model is in memory, and of the bases' own files one tensor each at a time. The text is the bases' own: sampled
from both, so that no data set is needed and none can be unfit.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from components.checkpoints import Layout, read_layout
from components.errors import RecycleError
from components.forecast.not_measured import NotMeasured
from components.forecast.verdict import ConnectivityLine
from components.sources import FolderSource
from components.system import human_bytes, usable_memory

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""α, from the source base to the target base."""
SEQUENCES = 16
"""Half of them from each base."""
TOKENS = 64
"""Of each sequence."""
SEED = 20250320
SPARE = 1.25
"""Memory for a model over that of its weights."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Device:
    """What runs the model."""

    name: str
    dtype: torch.dtype
    bytes: int
    """Of memory: what is free of a GPU's, and all of the host's."""


def measure_line(source: Path, target: Path) -> ConnectivityLine:
    """The mean loss at five points between two checkpoints, on text that the two ends make.

    The target's config holds at every point, since the recycled model has it.

    Args:
        source: folder of M_s.
        target: folder of M_t.

    Raises:
        NotMeasured: it cannot be measured, and why.
    """
    bases = read_layout(FolderSource(path=source)), read_layout(FolderSource(path=target))
    _check_shapes(*bases)
    device = _device()
    _check_memory(bases[1], device)
    try:
        return _losses(_load(target, device), *bases)
    except (NotMeasured, RecycleError):
        raise
    # Whatever a model class or a GPU raises, it is the same to whoever waits for the transfer: there is no measurement.
    except Exception as error:
        logger.info("the model could not be measured", exc_info=True)
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise NotMeasured(f"the model did not run ({type(error).__name__}: {first_line[:300]})") from None


def _losses(model: Any, source: Layout, target: Layout) -> ConnectivityLine:  # noqa: ANN401 - transformers has no types
    between = _Between(model, source, target)
    with torch.inference_mode():
        ids = torch.cat([_text(between.at(end), SEED + number) for number, end in enumerate((SHARES[0], SHARES[-1]))])
        losses = tuple(_loss(between.at(share), ids) for share in SHARES)
    logger.info("loss along the line: %s", ", ".join(f"{loss:.3f}" for loss in losses))
    return ConnectivityLine(shares=SHARES, losses=losses, vocabulary=model.config.vocab_size, tokens=ids[:, 1:].numel())


class _Between:
    """A model whose weights are set to any point of the line."""

    def __init__(self, model: Any, source: Layout, target: Layout) -> None:  # noqa: ANN401 - transformers has no types
        self._model = model
        self._source, self._target = source, target
        self._weights = dict(_weights(model, target))

    def at(self, share: float) -> Any:  # noqa: ANN401
        """The model at this point, until the next call; each tensor is interpolated in float32 and rounded once."""
        for name, weight in self._weights.items():
            start, end = _read(self._source, name), _read(self._target, name)
            weight.copy_(torch.lerp(start, end, share).view_as(weight))
        return self._model


def _weights(model: Any, layout: Layout) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401
    """The model's tensors that the checkpoint has; the others must be tied to one of them."""
    state: dict[str, Tensor] = model.state_dict()
    held = {state[name].data_ptr() for name in state.keys() & layout.tensors.keys()}
    for name, weight in state.items():
        if name in layout.tensors:
            yield name, weight
        elif weight.data_ptr() not in held:
            raise NotMeasured(f"transformers loads a tensor {name} that the checkpoints do not have by this name")


def _read(layout: Layout, name: str) -> Tensor:
    with safe_open(layout.source.path / layout.tensors[name].file, framework="pt") as file:  # type: ignore[attr-defined]
        tensor: Tensor = file.get_tensor(name)
    return tensor.float()


def _check_shapes(source: Layout, target: Layout) -> None:
    for name in sorted(source.tensors.keys() | target.tensors.keys()):
        ours, theirs = source.tensors.get(name), target.tensors.get(name)
        if ours is None or theirs is None:
            raise NotMeasured(f"only one of the bases has the tensor {name}")
        if ours.entry.shape != theirs.entry.shape:
            raise NotMeasured(
                f"{name} is {list(ours.entry.shape)} in the source base and {list(theirs.entry.shape)} in the target "
                "base, so there is no line between them"
            )


def _device() -> _Device:
    if torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        return _Device(name="cuda", dtype=dtype, bytes=torch.cuda.mem_get_info()[0])
    return _Device(name="cpu", dtype=torch.float32, bytes=usable_memory())


def _check_memory(layout: Layout, device: _Device) -> None:
    # The largest tensor is there three times more in float32 while it is interpolated.
    largest = max((tensor.entry.elements for tensor in layout.tensors.values()), default=0)
    needed = int(SPARE * layout.parameters * device.dtype.itemsize) + 3 * 4 * largest
    if needed > device.bytes:
        raise NotMeasured(
            f"the model needs {human_bytes(needed)} of memory, and the {device.name} has {human_bytes(device.bytes)}"
        )


def _load(folder: Path, device: _Device) -> Any:  # noqa: ANN401
    disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=device.dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
        return model.to(device.name).eval()
    # Whatever a model class raises, it is the same to whoever waits for the transfer: there is no measurement.
    except Exception as error:
        logger.info("the model could not be loaded", exc_info=True)
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise NotMeasured(
            f"transformers could not load the base ({type(error).__name__}: {first_line[:300]})"
        ) from None


def _text(model: Any, seed: int) -> Tensor:  # noqa: ANN401
    """Token ids that the model makes from nothing, int64 of [SEQUENCES / 2, at most TOKENS], on its device."""
    generator = torch.Generator().manual_seed(seed)
    first = next((id for id in (model.config.bos_token_id, model.config.eos_token_id) if isinstance(id, int)), 0)
    ids = torch.full((SEQUENCES // 2, 1), first, device=model.device)
    step, past = ids, None
    while ids.shape[1] < min(TOKENS, getattr(model.config, "max_position_embeddings", TOKENS)):
        made = model(input_ids=step, past_key_values=past, use_cache=True)
        past = made.past_key_values
        # On the CPU, so that a seed means the same text wherever the model runs.
        chances = made.logits[:, -1].float().softmax(-1).cpu()
        if not chances.isfinite().all():
            raise NotMeasured("a base gives no finite probabilities")
        step = torch.multinomial(chances, 1, generator=generator).to(model.device)
        ids = torch.cat([ids, step], dim=1)
    return ids


def _loss(model: Any, ids: Tensor) -> float:  # noqa: ANN401
    """Mean cross-entropy of each token after the first, in nats."""
    total = 0.0
    for half in (slice(0, SEQUENCES // 2), slice(SEQUENCES // 2, None)):
        rows = ids[half]
        logits = model(input_ids=rows, use_cache=False).logits[:, :-1].float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
    loss = total / ids[:, 1:].numel()
    if not torch.isfinite(torch.tensor(loss)):
        raise NotMeasured("the loss between the bases is not a finite number")
    return loss
