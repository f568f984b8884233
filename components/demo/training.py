"""A plain training loop, small enough to read, for models small enough to train in seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.demo import world

_ROW_TOKENS = 32
_NO_LOSS = -100
_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """What a model reads, for how long, and how fast it learns."""

    reading: Literal["release-1", "release-2", "conversations"]
    steps: int
    rows: int
    """Rows a step: 32 tokens of pretraining text each, or one conversation."""
    learning_rate: float
    """At its highest. Pretraining falls to 5 % of it as a cosine does, fine-tuning to nothing in a straight line."""
    warmup_steps: int = 0
    beta2: float = 0.99
    """Of AdamW; its other beta is 0.9, without weight decay, and gradients are clipped to norm 1."""

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        share = 1 - done if self.reading == "conversations" else 0.05 + 0.95 * (1 + cos(pi * done)) / 2
        return self.learning_rate * share


def train(
    model: Any,  # noqa: ANN401 - a causal language model of transformers, which has no types
    tokenizer: Tokenizer,
    stage: TrainingStage,
    *,
    seed: int,
    steps: int,
    progress: Callable[[str], None],
) -> None:
    """Train a model where it stands, in float32 with bfloat16 autocast, on one thread.

    Args:
        model: A causal language model of transformers with float32 parameters.
        tokenizer: Makes its ids.
        stage: What to read, and how.
        seed: Of the order of what is read.
        steps: How many steps to take; the learning rate falls over just as many.
        progress: Told a line every few seconds.
    """
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, stage.beta2), weight_decay=0.0, fused=True)
    batches = _batches(tokenizer, stage, seed)
    model.train()
    start = told = time.monotonic()
    with _one_thread():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate(step, steps)
            loss = _loss(model, *next(batches))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            now = time.monotonic()
            if now - told > _SECONDS_BETWEEN_LINES or step + 1 == steps:
                told = now
                progress(f"step {step + 1} of {steps}, loss {loss.item():.2f}, {now - start:.0f} s")


def _loss(model: Any, ids: Tensor, labels: Tensor) -> Tensor:  # noqa: ANN401
    """Mean loss over the labels of a step; `ids` and `labels` are int64 of [rows, tokens]."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_has_bfloat16()):
        logits = model(input_ids=ids, use_cache=False).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=_NO_LOSS)


def _has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16; others take ten times as long for it as for float32."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def _batches(tokenizer: Tokenizer, stage: TrainingStage, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    rows = (
        _conversations(tokenizer, seed) if stage.reading == "conversations" else _text(tokenizer, stage.reading, seed)
    )
    while True:
        batch = [next(rows) for _ in range(stage.rows)]
        yield _padded([ids for ids, _ in batch], 0), _padded([labels for _, labels in batch], _NO_LOSS)


def _text(tokenizer: Tokenizer, release: world.Release, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Rows that begin with a document and end where the row is full."""
    row: list[int] = []
    for document in world.documents(release, seed=seed):
        row += tokenizer.encode(document + world.END).ids
        if len(row) >= _ROW_TOKENS:
            yield row[:_ROW_TOKENS], row[:_ROW_TOKENS]
            row = []


def _conversations(tokenizer: Tokenizer, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Conversations in an order that is new each time round, with the loss on the reply and its end only."""
    random = world.seeded(seed)
    conversations = world.training_conversations()
    while True:
        for conversation in random.sample(conversations, len(conversations)):
            question, reply = (message["content"] for message in conversation["messages"])
            prompt = tokenizer.encode(f"{world.USER} {question}{world.ASSISTANT}").ids
            answer = tokenizer.encode(f" {reply}{world.END}").ids
            yield prompt + answer, [_NO_LOSS] * len(prompt) + answer


def _padded(rows: list[list[int]], value: int) -> Tensor:
    """Right-padded to the longest; a causal model never sees what comes after."""
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of sums depends on the number of threads, and so do the bytes of the result."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
