"""What a tokenizer maps to which row of the embeddings, and whether two tokenizers agree on it."""

import hashlib
import json
import re
from dataclasses import dataclass, replace

from components.errors import BadCheckpoint

TEXT = "text"
"""The form of tokenizer.json, vocab.json and SentencePiece."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer's tokens by id."""

    ordinary: dict[int, str]
    """Tokens that text is split into."""
    added: dict[int, str]
    """Control tokens put on top: fine-tunes rename the reserved ones and append their own."""
    merges: str
    """Digest over the merge rules, empty for tokenizers without any."""
    form: str
    """How tokens are spelled: two vocabularies of different forms cannot be compared."""

    @property
    def size(self) -> int:
        """How many rows a model needs for it."""
        return max(max(self.ordinary, default=-1), max(self.added, default=-1)) + 1

    @property
    def fingerprint(self) -> str:
        """sha256 over all of it."""
        content = json.dumps([sorted(self.ordinary.items()), sorted(self.added.items()), self.merges])
        return hashlib.sha256(content.encode()).hexdigest()


def parse_vocabulary(raw: bytes, where: str) -> Vocabulary:
    """Read a `tokenizer.json` (the `tokenizers` library's format: BPE, WordLevel, WordPiece or Unigram).

    Raises:
        BadCheckpoint: it is not such a file.
    """
    try:
        document = json.loads(raw)
        model = document["model"]
        tokens = model["vocab"]
        items = (
            [(entry[0], index) for index, entry in enumerate(tokens)] if isinstance(tokens, list) else tokens.items()
        )
        by_id = {int(index): str(token) for token, index in items}
        added = {int(entry["id"]): str(entry["content"]) for entry in document.get("added_tokens", [])}
        # tokenizers 0.20 began to write a merge as a pair; older files have the pair in one string.
        merges = [rule if isinstance(rule, str) else " ".join(rule) for rule in model.get("merges") or []]
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"{where} is not a tokenizer.json that can be read ({type(error).__name__}: {error})",
            hint="save the tokenizer again with transformers' save_pretrained",
        ) from None
    return Vocabulary(
        ordinary={index: token for index, token in by_id.items() if index not in added},
        added=added,
        merges=hashlib.sha256("\n".join(merges).encode()).hexdigest() if merges else "",
        form=TEXT,
    )


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """How two vocabularies differ."""

    blocking: str
    """Why their embedding rows do not mean the same, empty if they do."""
    note: str
    """A difference that is allowed but worth telling, empty if there is none."""


UNUSED = re.compile(r"^[<\[]\|?(unused|reserved|extra|dummy|placeholder)[\w-]*\|?[>\]]$", re.IGNORECASE)
"""How vocabularies call tokens that wait for a use."""


def compare_vocabularies(one: Vocabulary, other: Vocabulary, *, rows: int | None = None) -> Disagreement:
    """Compare two vocabularies over the ids that both have, and that are below `rows`.

    Renamed or appended control tokens are allowed, as from Llama 3.0 to 3.1 (`<|reserved_special_token_4|>` became
    `<|eom_id|>`) or from a base to its instruct model. An ordinary token that moved is not: rows would be added up
    that stand for different text.
    """
    if one.form != other.form:
        return Disagreement(blocking="", note=f"their vocabularies ({one.form}, {other.form}) cannot be compared")
    one, other = _below(one, rows), _below(other, rows)
    shared = one.ordinary.keys() & other.ordinary.keys()
    moved = sorted(index for index in shared if one.ordinary[index] != other.ordinary[index])
    crossed = sorted((one.ordinary.keys() & other.added.keys()) | (other.ordinary.keys() & one.added.keys()))
    crossed = [index for index in crossed if _token(one, index) != _token(other, index)]
    renamed = [index for index in crossed if _is_unused(one, index) or _is_unused(other, index)]
    crossed = [index for index in crossed if index not in renamed]
    if moved or crossed:
        wrong = sorted(moved + crossed)
        examples = ", ".join(f"id {index}: {_token(one, index)!r} / {_token(other, index)!r}" for index in wrong[:3])
        return Disagreement(blocking=f"{len(wrong):,} ids stand for different tokens ({examples})", note="")
    if one.merges and other.merges and one.merges != other.merges:
        return Disagreement(blocking="the vocabularies agree but the merge rules do not", note="")
    shared = one.added.keys() & other.added.keys()
    renamed = sorted([*renamed, *(index for index in shared if one.added[index] != other.added[index])])
    examples = ", ".join(f"{_token(one, index)} → {_token(other, index)}" for index in renamed[:3])
    return Disagreement(blocking="", note=f"{len(renamed)} control tokens renamed ({examples})" if renamed else "")


def _below(vocabulary: Vocabulary, rows: int | None) -> Vocabulary:
    if rows is None or vocabulary.size <= rows:
        return vocabulary
    return replace(
        vocabulary,
        ordinary={index: token for index, token in vocabulary.ordinary.items() if index < rows},
        added={index: token for index, token in vocabulary.added.items() if index < rows},
    )


def _is_unused(vocabulary: Vocabulary, index: int) -> bool:
    return bool(UNUSED.match(vocabulary.ordinary.get(index, "")))


def _token(vocabulary: Vocabulary, index: int) -> str:
    return vocabulary.ordinary.get(index) or vocabulary.added.get(index, "")
