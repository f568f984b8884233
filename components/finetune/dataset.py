"""What is learned from: conversations, read from a file or made by the demo, and checked row by row."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadParameter

ROLES = ("system", "user", "assistant", "tool")
DEMO = "demo"
COLUMNS = "give each row a list `messages` of {role, content}, or a `prompt` and a `completion`"


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns to be rendered by the chat template; the assistant's are learned."""

    row: int
    """Counted from 1, for messages to people."""
    messages: tuple[dict[str, str], ...]
    """Each with `role` and `content`."""
    learn_from: int = 0
    """Turns before this one are context even where they are the assistant's."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Plain text after plain text; the second is learned."""

    row: int
    prompt: str
    completion: str


Example = Conversation | Completion


def load_examples(dataset: str) -> list[Example]:
    """Read and check every row of a dataset.

    Args:
        dataset: `demo`, or the path of a .jsonl or .parquet file.

    Raises:
        BadParameter: there is no such dataset, it is empty, or a row cannot be learned from.
    """
    examples = [_example(row, number) for number, row in enumerate(_rows(dataset), start=1)]
    if not examples:
        raise BadParameter(f"the dataset {dataset} is empty", do=COLUMNS)
    return examples


def _rows(dataset: str) -> Iterable[Any]:
    if dataset == DEMO:
        from components.demo.world import training_conversations

        return training_conversations()
    path = Path(dataset)
    if path.suffix not in (".jsonl", ".parquet") or not path.is_file():
        raise BadParameter(
            f"there is no dataset {dataset!r}", do=f"give {DEMO!r}, or the path of a .jsonl or .parquet file"
        )
    return _json_lines(path) if path.suffix == ".jsonl" else _parquet_rows(path)


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        lines = (line for line in file if line.strip())
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _bad_row(number, f"is not JSON ({error})") from None


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadParameter(f"{path} cannot be read as Parquet ({error})", do="write it again") from None


def _example(row: Any, number: int) -> Example:  # noqa: ANN401 - whatever the file holds
    if not isinstance(row, dict):
        raise _bad_row(number, f"is a {type(row).__name__} and not an object")
    if row.get("messages") is not None:
        return _conversation(_messages(row["messages"], number), number)
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        if not prompt or not completion:
            raise _bad_row(number, "has an empty prompt or completion")
        return Completion(row=number, prompt=prompt, completion=completion)
    if isinstance(prompt, list) and isinstance(completion, list):
        before = _messages(prompt, number)
        return _conversation((*before, *_messages(completion, number)), number, learn_from=len(before))
    raise _bad_row(number, f"has the columns {', '.join(map(str, row)) or '(none)'}")


def _messages(found: Any, number: int) -> tuple[dict[str, str], ...]:  # noqa: ANN401
    if not isinstance(found, list) or not found:
        raise _bad_row(number, "has no list of messages")
    messages = []
    for message in found:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES or not isinstance(message.get("content"), str):
            raise _bad_row(number, f"has a message without a role among {', '.join(ROLES)} and a text as its content")
        messages.append({"role": role, "content": message["content"]})
    return tuple(messages)


def _conversation(messages: tuple[dict[str, str], ...], number: int, learn_from: int = 0) -> Conversation:
    learned = [message for message in messages[learn_from:] if message["role"] == "assistant"]
    if not learned:
        raise _bad_row(number, "has no assistant turn to learn from")
    if any(not message["content"].strip() for message in learned):
        raise _bad_row(number, "has an empty assistant turn")
    if messages[0]["role"] == "assistant":
        raise _bad_row(number, "begins with the assistant, with nothing to answer")
    return Conversation(row=number, messages=messages, learn_from=learn_from)


def _bad_row(number: int, problem: str) -> BadParameter:
    return BadParameter(f"row {number} of the dataset {problem}", do=COLUMNS)
