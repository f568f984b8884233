"""Tensors added up into layers, in the order the model runs them."""

import re
from collections.abc import Iterable

from components.transfer import TensorStatistics, total

# `model.layers.12.mlp.up_proj.weight` (Llama, OLMo, Qwen), `transformer.h.12.…` (GPT-2), and other such lists.
_LAYER = re.compile(r"^(?P<stack>(?:.*?\.)?(?:layers|layer|blocks|block|h))\.(?P<index>\d+)\.")
_EMBEDDING = re.compile(r"(^|\.)(\w*embed\w*|wte|wpe)(\.|$)")

EMBEDDING = "embed"
HEAD = "head"


def by_layer(statistics: Iterable[TensorStatistics]) -> tuple[TensorStatistics, ...]:
    """One entry a layer, named by its number; the embeddings before them, final norm and output head after them.

    A model with more than one stack of layers keeps them apart, one after the other as they first come.
    """
    groups: dict[tuple[str, int], list[TensorStatistics]] = {}
    embeddings: list[TensorStatistics] = []
    head: list[TensorStatistics] = []
    for tensor in statistics:
        if layer := _LAYER.match(tensor.name):
            groups.setdefault((layer["stack"], int(layer["index"])), []).append(tensor)
        elif _EMBEDDING.search(tensor.name):
            embeddings.append(tensor)
        else:
            head.append(tensor)
    stacks = list(dict.fromkeys(stack for stack, _ in groups))
    ordered = sorted(groups, key=lambda key: (stacks.index(key[0]), key[1]))
    ends = [total(EMBEDDING, embeddings)] if embeddings else [], [total(HEAD, head)] if head else []
    return (*ends[0], *(total(str(key[1]), groups[key]) for key in ordered), *ends[1])
