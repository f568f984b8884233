"""The demo's tokenizer: a token for every word of its world."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from components.demo.world import ASSISTANT, END, USER, words

# Padding is a token of its own: collators that mask padding by its id would mask the end of a reply too if the two
# were one, and a model trained so never learns to stop.
PAD = "<|pad|>"
_UNKNOWN = "<|unknown|>"
_SPECIAL = (END, PAD, USER, ASSISTANT, _UNKNOWN)

# `generation` marks what a trainer may take the loss on; anywhere else it changes nothing. It must begin with a
# character that belongs to a token, which a space does not, else nothing is marked.
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{ '<|user|> ' + message['content'] }}"
    "{%- elif message['role'] == 'assistant' -%}{{ '<|assistant|> ' }}"
    "{%- generation -%}{{ message['content'] + '<|end|>' }}{%- endgeneration -%}"
    "{%- else -%}{{ raise_exception('this chat template knows the roles user and assistant only') }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def make() -> Tokenizer:
    """The tokenizer: special tokens first, then the words in sorted order; the ids have no holes."""
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *words()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Joins words with a space, and leaves none before a punctuation mark; no word begins with the prefix.
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(pattern=" :", content=":")]
    )
    return tokenizer


def save(folder: Path, *, max_length: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, as any version of transformers reads them.

    Args:
        folder: Where to; it exists.
        max_length: The most tokens the model takes.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # A document begins after the end of another, so the same token serves as bos where a harness wants one.
        "bos_token": END,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": _UNKNOWN,
        "additional_special_tokens": [USER, ASSISTANT],
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": max_length,
        "padding_side": "left",
        "chat_template": _CHAT_TEMPLATE,
    }
    (folder / "tokenizer.json").write_text(make().to_str(pretty=True), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
