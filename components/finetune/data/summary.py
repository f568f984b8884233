"""A dataset looked at before it is learned from: counted, digested, previewed, and written down for a trainer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import BadParameter
from components.finetune.data.dataset import Completion, Conversation, Dataset, Example, read_examples, text_of
from components.finetune.job import digest_of_examples

PREVIEWED = 3
"""Conversations that a preview shows."""
PREVIEW_CHARACTERS = 400
"""Characters of each turn that a preview shows."""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """Counts, digest and first rows of a dataset."""

    dataset: Dataset
    """The dataset, with every revision pinned."""
    rows: int
    digest: str
    """sha256 over what is learned, in its order."""
    turns: int
    """Messages, over all rows; a prompt and its completion are two."""
    characters: int
    preview: str
    """The first conversations, shortened."""

    @property
    def params(self) -> dict[str, object]:
        """Parameters that the record of a training has of its dataset."""
        return {
            "dataset": text_of(self.dataset),
            "dataset rows": self.rows,
            "dataset turns": self.turns,
            "dataset characters": self.characters,
            "dataset digest": self.digest,
        }


def summarize(dataset: Dataset) -> DatasetSummary:
    """Read and check every row of a dataset, one at a time.

    Raises:
        BadParameter: it is empty, or a row cannot be learned from.
    """
    counts = {"rows": 0, "turns": 0, "characters": 0}
    first: list[str] = []

    def counted() -> Iterator[Example]:
        for example in read_examples(dataset):
            turns = _turns(example)
            counts["rows"] += 1
            counts["turns"] += len(turns)
            counts["characters"] += sum(len(text) for _, text in turns)
            if len(first) < PREVIEWED:
                first.append(_shortened(turns))
            yield example

    digest = digest_of_examples(counted())
    return DatasetSummary(dataset=dataset, digest=digest, preview="\n\n".join(first), **counts)


def write_conversations(dataset: Dataset, path: Path) -> None:
    """Write a dataset as JSON lines with `messages`, the form that Open-Instruct reads.

    Raises:
        BadParameter: a row is no conversation, or has answers that are not to be learned, which Open-Instruct would.
    """
    with path.open("w", encoding="utf-8") as file:
        for example in read_examples(dataset):
            file.write(json.dumps({"messages": _all_learned(example)}, ensure_ascii=False) + "\n")


def _all_learned(example: Example) -> tuple[dict[str, str], ...]:
    if isinstance(example, Completion):
        raise BadParameter(
            f"row {example.row} of the dataset is plain text, and Open-Instruct learns from conversations only",
            hint="give the rows `messages`, or choose a recipe for trl",
        )
    if any(message["role"] == "assistant" for message in example.messages[: example.learn_from]):
        raise BadParameter(
            f"row {example.row} of the dataset has an assistant turn in its prompt, and Open-Instruct learns them all",
            hint="give the rows `messages` with the turns to learn, or choose a recipe for trl",
        )
    return example.messages


def _turns(example: Example) -> list[tuple[str, str]]:
    if isinstance(example, Conversation):
        return [(message["role"], message["content"]) for message in example.messages]
    return [("prompt", example.prompt), ("completion", example.completion)]


def _shortened(turns: list[tuple[str, str]]) -> str:
    return "\n".join(
        f"{role}: {text[:PREVIEW_CHARACTERS]}{'…' * (len(text) > PREVIEW_CHARACTERS)}" for role, text in turns
    )
