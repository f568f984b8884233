"""A model's input embeddings and output head, whatever its architecture calls them, and whether they are one tensor."""

import re
from dataclasses import dataclass

from components.checkpoints.language_model import language_values
from components.checkpoints.layout import Layout, Tensor

INPUTS = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|tok_embeddings|embeddings|shared)\.weight$")
"""Llama and most others; GPT-2; GPT-NeoX; BLOOM and Falcon; InternLM; Mamba; T5."""
HEADS = re.compile(r"(^|\.)(lm_head|embed_out|output|output_layer)\.weight$")
"""Llama and most others; GPT-NeoX; InternLM; ChatGLM."""
BLOCK_BYTES = 4 << 20
SAMPLED_BLOCKS = 16
"""Blocks of 64 kB that stand for a tensor on a server that takes long to send all of it."""


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What turns tokens into vectors, and vectors into tokens."""

    inputs: Tensor | None
    """The input embeddings; the stored head where that stands for both."""
    head: Tensor | None
    """The stored head, None where none is stored beside the embeddings."""
    is_tied: bool
    """Whether the head is the input embeddings; a stored copy does not count."""

    @property
    def output(self) -> Tensor | None:
        """What the model computes its logits with."""
        return self.inputs if self.is_tied else self.head

    @property
    def rows(self) -> int | None:
        """Tokens that the model has room for."""
        return self.inputs.entry.shape[0] if self.inputs and self.inputs.entry.shape else None


def find_embeddings(layout: Layout) -> Embeddings:
    """Find a model's embeddings and head, comparing their bytes where both are stored and may be tied.

    A head that is stored although the config, or the class's default, ties it counts where its bytes are others than
    the embeddings': transformers 5 loads such a model with a head of its own.

    Raises:
        RecycleError: they cannot be read.
    """
    values = language_values(layout.config)
    inputs = _best(INPUTS, layout, values.get("vocab_size"))
    head = _best(HEADS, layout, values.get("vocab_size"))
    if inputs is None or head is None:
        # One stored name stands for both; then it is the embeddings, whatever it is called.
        return Embeddings(inputs=inputs or head, head=None, is_tied=True)
    # A config that says "untied" is the model's own word; everything else is looked at.
    says_untied = declared_tied(layout) is False
    return Embeddings(inputs=inputs, head=head, is_tied=not says_untied and same_values(layout, inputs, head))


def vocabulary_rows(layout: Layout) -> int | None:
    """Rows of a model's embeddings, None where it has none; no byte of them is read."""
    wanted = language_values(layout.config).get("vocab_size")
    found = _best(INPUTS, layout, wanted) or _best(HEADS, layout, wanted)
    return found.entry.shape[0] if found else None


def declared_tied(layout: Layout) -> bool | None:
    """What the config says of it: of the whole model, else of the language model; None where it says nothing."""
    for config in (layout.config, language_values(layout.config)):
        tied = config.get("tie_word_embeddings")
        if tied is not None:
            return bool(tied)
    return None


def same_values(layout: Layout, one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of a checkpoint have equal bytes; on the hub, a sample of them."""
    first, second = one.entry, other.entry
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return all(
        layout.source.read(one.file, first.start + start, length)
        == layout.source.read(other.file, second.start + start, length)
        for start, length in _blocks(first.length, sampled=layout.source.uri.startswith("hf://"))
    )


def _blocks(size: int, *, sampled: bool) -> list[tuple[int, int]]:
    if sampled and size > SAMPLED_BLOCKS * BLOCK_BYTES:
        length = 1 << 16
        return [(number * (size - length) // (SAMPLED_BLOCKS - 1), length) for number in range(SAMPLED_BLOCKS)]
    return [(start, min(BLOCK_BYTES, size - start)) for start in range(0, size, BLOCK_BYTES)]


def _best(names: re.Pattern[str], layout: Layout, vocabulary: object) -> Tensor | None:
    """The matrix of such a name that has a row a token, else the one with the shortest name."""
    found = [tensor for name, tensor in layout.tensors.items() if names.search(name) and len(tensor.entry.shape) == 2]
    found.sort(key=lambda tensor: (tensor.entry.shape[0] != vocabulary, len(tensor.entry.name)))
    return found[0] if found else None
