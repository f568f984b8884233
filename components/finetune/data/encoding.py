"""Conversations as token ids, with labels for the assistant's answers only.

Trainers find the answers through `{% generation %}` marks, which few chat templates have, and without them learn the
questions too or nothing. Here an answer is what the template adds between the prompt up to it, with the generation
prompt, and the conversation up to its end: at inference the model gets exactly that prompt, and it has to produce
exactly that answer and the end of its turn. This holds for every turn of a conversation and any template that only
appends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import BadParameter
from components.finetune.data.dataset import Completion, Conversation, Example

IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One example for the trainer."""

    input_ids: list[int]
    labels: list[int]
    """Labels of the tokens: their own ids where they are learned, else `IGNORED`."""


@dataclass(frozen=True, kw_only=True)
class _Marked:
    """A text and the character ranges of it that are learned."""

    row: int
    text: str
    spans: list[tuple[int, int]]


def encode(examples: Sequence[Example], tokenizer: Any, *, max_length: int) -> list[Encoded]:  # noqa: ANN401
    """Tokenize, mark the answers, and cut to `max_length` tokens.

    Args:
        examples: in the order in which they come back.
        tokenizer: a fast tokenizer of transformers, with a chat template if there are conversations.
        max_length: in tokens; an example whose answers all lie beyond it is left out.

    Raises:
        BadParameter: the tokenizer has no chat template, the template does not only append or does not end turns
            with the end-of-sequence token, or nothing is left to learn.
    """
    conversations = [example for example in examples if isinstance(example, Conversation)]
    completions = [example for example in examples if isinstance(example, Completion)]
    marked = {
        **{text.row: text for text in _mark_conversations(conversations, tokenizer)},
        **{text.row: text for text in map(_mark_completion, completions)},
    }
    # A chat template writes its own beginning-of-sequence token; plain text relies on the tokenizer for it.
    encoded = {
        **_tokenize([marked[example.row] for example in conversations], tokenizer, special=False),
        **_tokenize([marked[example.row] for example in completions], tokenizer, special=True),
    }
    for conversation in conversations:
        _check_turn_ends(encoded[conversation.row], tokenizer)
    for completion in completions:
        _end(encoded[completion.row], tokenizer.eos_token_id)
    cut = [_cut(encoded[example.row], max_length) for example in examples]
    learned = [example for example in cut if any(label != IGNORED for label in example.labels[1:])]
    if not learned:
        raise BadParameter(
            f"no answer of the dataset begins within {max_length} tokens",
            hint="raise max_sequence_length in the recipe",
        )
    return learned


def _mark_conversations(conversations: Sequence[Conversation], tokenizer: Any) -> list[_Marked]:  # noqa: ANN401
    if not conversations:
        return []
    if not tokenizer.chat_template:
        raise BadParameter(
            "the base has no chat template, so conversations cannot be written as its text",
            hint="add a chat_template.jinja to the base, or give rows of prompt and completion",
        )
    return [_mark_conversation(conversation, tokenizer) for conversation in conversations]


def _mark_conversation(conversation: Conversation, tokenizer: Any) -> _Marked:  # noqa: ANN401
    messages = list(conversation.messages)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for index in range(conversation.learn_from, len(messages)):
        if messages[index]["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(messages[:index], tokenize=False, add_generation_prompt=True)
        last = index + 1 == len(messages)
        through = text if last else tokenizer.apply_chat_template(messages[: index + 1], tokenize=False)
        if not (text.startswith(through) and through.startswith(prompt)):
            raise BadParameter(
                f"row {conversation.row}: the chat template writes the beginning of this conversation differently "
                "once it goes on, so the prompt of an answer cannot be told",
                hint="split the conversation, one row for each answer, or use a template that only appends",
            )
        spans.append((len(prompt), len(through)))
    return _Marked(row=conversation.row, text=text, spans=spans)


def _mark_completion(example: Completion) -> _Marked:
    text = example.prompt + example.completion
    return _Marked(row=example.row, text=text, spans=[(len(example.prompt), len(text))])


def _tokenize(texts: Sequence[_Marked], tokenizer: Any, *, special: bool) -> dict[int, Encoded]:  # noqa: ANN401
    if not texts:
        return {}
    batch = tokenizer(
        [text.text for text in texts],
        add_special_tokens=special,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    rows = zip(texts, batch["input_ids"], batch["offset_mapping"], strict=True)
    return {text.row: Encoded(input_ids=ids, labels=_labels(ids, offsets, text.spans)) for text, ids, offsets in rows}


def _labels(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    # By its end alone: some tokenizers trim spaces off a token's range, down to nothing for a token of spaces.
    return [
        token if any(begin < end <= finish for begin, finish in spans) else IGNORED
        for token, (_, end) in zip(ids, offsets, strict=True)
    ]


def _check_turn_ends(example: Encoded, tokenizer: Any) -> None:  # noqa: ANN401
    if tokenizer.eos_token_id not in example.labels:
        raise BadParameter(
            f"the chat template does not end the assistant's turn with the tokenizer's eos_token "
            f"({tokenizer.eos_token!r}), so the model would never learn to stop",
            hint="write it at the end of assistant turns in the chat template, or name the right eos_token in "
            "tokenizer_config.json",
        )


def _end(example: Encoded, eos_token_id: int | None) -> None:
    if eos_token_id is not None and example.input_ids[-1] != eos_token_id:
        example.input_ids.append(eos_token_id)
        example.labels.append(eos_token_id)


def _cut(example: Encoded, max_length: int) -> Encoded:
    return Encoded(input_ids=example.input_ids[:max_length], labels=example.labels[:max_length])
