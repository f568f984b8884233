"""Datasets: conversations of a file, of the hub or made by the demo, checked row by row, and mixed."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from components.errors import BadParameter

ROLES = ("system", "user", "assistant", "tool")
DEMO = "demo"
HUB_PREFIX = "hub:"
FORMS = f"{DEMO!r}, the path of a .jsonl or .parquet file, or {HUB_PREFIX}owner/name@revision"
SAMPLING_SEED = 42
"""Open-Instruct's own (`dataset_config_seed`): a share of a dataset is the share that it would take."""
MOST_LEFT_OUT = 0.01
"""Largest share of rows left out of a dataset of the hub, which its reader cannot correct; more means another kind."""
COLUMNS = "give each row a list `messages` of {role, content}, or a `prompt` and a `completion`"


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns to be rendered by the chat template; the assistant's are learned."""

    row: int
    """Number of the row, from 1, for messages to people."""
    messages: tuple[dict[str, str], ...]
    """Turns in their order, each with `role` and `content`."""
    learn_from: int = 0
    """Turns before this one are context even where they are the assistant's."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Plain text after plain text; the second is learned."""

    row: int
    prompt: str
    completion: str


Example = Conversation | Completion


class Part(BaseModel):
    """A dataset's part in a mix."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    weight: float = Field(default=1.0, gt=0)
    """Rows taken, as a multiple of those it has: 1 takes each once, 0.5 a random half, 2 each twice."""


Dataset = str | Annotated[tuple[Part, ...], Field(min_length=1)]
"""`demo`, the path of a .jsonl or .parquet file, `hub:owner/name@revision`, or a mix of those."""

logger = logging.getLogger(__name__)


def load_examples(dataset: Dataset) -> list[Example]:
    """Read and check every row of a dataset.

    Raises:
        BadParameter: there is no such dataset, it is empty, or a row cannot be learned from.
    """
    return list(read_examples(dataset))


def read_examples(dataset: Dataset) -> Iterator[Example]:
    """Read and check a dataset row by row (see `load_examples`), each row with a number of its own."""
    parts = parts_of(dataset)
    examples = chain.from_iterable(_weighted(part) for part in parts)
    found = 0
    for found, example in enumerate(examples, start=1):
        yield example if len(parts) == 1 and parts[0].weight == 1 else replace(example, row=found)
    if not found:
        raise BadParameter(f"the dataset {text_of(dataset)} is empty", hint=COLUMNS)


def check_dataset(dataset: Dataset) -> None:
    """Refuse a dataset that cannot be learned from; of one on the hub it is only seen that it is there.

    Raises:
        BadParameter, BadReference or ServiceUnavailable: as `read_examples` and `pinned` do.
    """
    pinned(dataset)
    for part in parts_of(dataset):
        if not part.dataset.startswith(HUB_PREFIX):
            for _ in read_examples(part.dataset):
                pass


def parts_of(dataset: Dataset) -> tuple[Part, ...]:
    """A dataset as a mix, of one part where it is none."""
    return (Part(dataset=dataset),) if isinstance(dataset, str) else dataset


def text_of(dataset: Dataset) -> str:
    """A dataset in one line."""
    if isinstance(dataset, str):
        return dataset
    return " + ".join(f"{part.weight:g} × {part.dataset}" for part in dataset)


def pinned(dataset: Dataset) -> Dataset:
    """The same dataset with every revision of the hub resolved to its commit.

    Raises:
        BadParameter: a part names no dataset.
        BadReference: the hub has no such dataset.
        ServiceUnavailable: the hub does not answer.
    """
    if isinstance(dataset, str):
        return _pinned(dataset)
    return tuple(part.model_copy(update={"dataset": _pinned(part.dataset)}) for part in dataset)


def _pinned(name: str) -> str:
    if name.startswith(HUB_PREFIX):
        from components.finetune.data.hub import pin

        return HUB_PREFIX + pin(name.removeprefix(HUB_PREFIX))
    if name != DEMO:
        _file(name)
    return name


def _weighted(part: Part) -> Iterable[Example]:
    examples = _examples(part.dataset)
    if part.weight == 1:
        return examples
    import numpy as np

    rows = list(examples)
    whole, rest = divmod(int(part.weight * len(rows)), len(rows)) if rows else (0, 0)
    chosen = np.random.RandomState(SAMPLING_SEED).choice(len(rows), size=rest, replace=False) if rest else ()
    return chain(rows * whole, (rows[index] for index in chosen))


def _examples(name: str) -> Iterator[Example]:
    if not name.startswith(HUB_PREFIX):
        yield from (_example(row, number) for number, row in enumerate(_rows(name), start=1))
        return
    number, left_out, first = 0, 0, ""
    for number, row in enumerate(_rows(name), start=1):
        try:
            yield _example(row, number)
        except BadParameter as error:
            left_out, first = left_out + 1, first or error.problem
    if left_out > MOST_LEFT_OUT * number:
        raise BadParameter(
            f"{left_out} of the {number} rows of {name} cannot be learned from; {first}",
            hint=f"choose a dataset of conversations: {COLUMNS}",
        )
    if left_out:
        logger.warning("%d of the %d rows of %s are left out; %s", left_out, number, name, first)


def _rows(name: str) -> Iterable[Any]:
    if name == DEMO:
        from components.demo import training_conversations

        return training_conversations()
    if name.startswith(HUB_PREFIX):
        from components.finetune.data.hub import download

        return chain.from_iterable(map(_file_rows, download(name.removeprefix(HUB_PREFIX))))
    return _file_rows(_file(name))


def _file(name: str) -> Path:
    path = Path(name)
    if path.suffix not in (".jsonl", ".parquet") or not path.is_file():
        raise BadParameter(f"there is no dataset {name!r}", hint=f"give {FORMS}")
    return path


def _file_rows(path: Path) -> Iterator[Any]:
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
        raise BadParameter(f"{path} cannot be read as Parquet ({error})", hint="write it again") from None


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
    return BadParameter(f"row {number} of the dataset {problem}", hint=COLUMNS)
