"""Where a result begins, stops and pads: where the fine-tune does, wherever that says so.

A model's generation config says it, else its config (the whole model's, then the language model's), else its
tokenizer. The fine-tune's own generation config is taken as it is; the target's serves for what is no token.
"""

import json
from collections.abc import Iterator
from typing import Any

from components.checkpoints import Layout, language_values, read_object

GENERATION_CONFIG = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
NAMES = ("bos_token", "eos_token", "pad_token")
IDS = tuple(f"{name}_id" for name in NAMES)

Document = dict[str, Any]


def generation_config(tuned: Layout, target: Layout) -> bytes | None:
    """The result's generation config, None where neither model has one."""
    if tuned.has(GENERATION_CONFIG):
        return tuned.source.read(GENERATION_CONFIG)
    if not target.has(GENERATION_CONFIG):
        return None
    theirs = read_object(target.source, GENERATION_CONFIG)
    settings = {key: value for key, value in theirs.items() if "token_id" not in key and "tokens" not in key}
    ids = {key: value for key, value in token_ids(tuned).items() if value is not None}
    kept = settings | ids
    return target.source.read(GENERATION_CONFIG) if kept == theirs else _pretty(kept)


def config_ids(tuned: Layout, target: Layout) -> Document:
    """The ids for the result's config, which is the target's: the fine-tune's wherever one of the two says something.

    Where neither config has an id, only the end is written, for what reads configs alone to stop at.
    """
    own, theirs, effective = _in_config(tuned), _in_config(target), token_ids(tuned)
    ids = {key: _first(own[key], effective[key]) for key in IDS}
    said = {key for key in IDS if own[key] is not None or theirs[key] is not None or key == "eos_token_id"}
    return {key: value for key, value in ids.items() if value is not None and key in said}


def token_ids(layout: Layout) -> Document:
    """A model's effective token ids, each a number, a list of numbers, or None."""
    generation = read_object(layout.source, GENERATION_CONFIG) if layout.has(GENERATION_CONFIG) else {}
    config, tokenizer = _in_config(layout), _in_tokenizer(layout)
    return {key: _first(generation.get(key), config[key], tokenizer[key]) for key in IDS}


def token_notes(layout: Layout) -> Iterator[str]:
    """Where a model's own files disagree on where it stops."""
    generation = read_object(layout.source, GENERATION_CONFIG) if layout.has(GENERATION_CONFIG) else {}
    stops = _numbers(token_ids(layout)["eos_token_id"])
    said = {
        GENERATION_CONFIG: _numbers(generation.get("eos_token_id")),
        "config.json": _numbers(_in_config(layout)["eos_token_id"]),
        "its tokenizer": _numbers(_in_tokenizer(layout)["eos_token_id"]),
    }
    if any(ids and not ids <= stops for ids in said.values()):
        told = ", ".join(f"{sorted(ids)} ({where})" for where, ids in said.items() if ids)
        yield f"the fine-tune stops at {sorted(stops)}, and so does the result; its files disagree: {told}"


def _in_config(layout: Layout) -> Document:
    inside = language_values(layout.config)
    return {key: _first(layout.config.get(key), inside.get(key)) for key in IDS}


def _in_tokenizer(layout: Layout) -> Document:
    if not layout.has(TOKENIZER_CONFIG) or layout.vocabulary is None:
        return dict.fromkeys(IDS)
    config = read_object(layout.source, TOKENIZER_CONFIG)
    known = {token: number for number, token in (layout.vocabulary.ordinary | layout.vocabulary.added).items()}
    return {f"{name}_id": known.get(_text(config.get(name))) for name in NAMES}


def _text(token: object) -> str:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def _first(*values: object) -> object:
    return next((value for value in values if value is not None), None)


def _numbers(value: object) -> set[int]:
    return {number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)}


def _pretty(document: Document) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
