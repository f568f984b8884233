"""Vocabularies wherever a checkpoint keeps them: `tokenizer.json`, or the files of older and other tokenizers.

tokenizer.json                                the tokenizers library
vocab.json, merges.txt, added_tokens.json     GPT-2, OPT, Qwen 2 and others, as transformers' slow tokenizers save
*.model                                       SentencePiece: Llama 2, Gemma, T5; or the form of tiktoken: GLM-4, Kimi
tekken.json, *.tiktoken                       Mistral; Qwen 1
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator

from components.checkpoints.tokenizer import TEXT, Vocabulary, parse_vocabulary
from components.errors import BadCheckpoint

Read = Callable[[str], bytes]
TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\s")
"""A token in base 64 and its rank; SentencePiece's files begin with a byte of its protobuf, which is a line's end."""
CONTROL_PIECES = (2, 3)
"""Types of SentencePiece pieces that text is not split into: UNKNOWN and CONTROL (sentencepiece_model.proto)."""


def read_vocabulary(read: Read, names: Iterable[str], where: str) -> Vocabulary | None:
    """Read a checkpoint's vocabulary, None where it has none that can be read.

    Args:
        read: gives a file's content by its name.
        names: of the checkpoint's files.
        where: names the checkpoint in errors.

    Raises:
        BadCheckpoint: a file is not what its name says.
    """
    there = sorted(names)
    if "tokenizer.json" in there:
        return parse_vocabulary(read("tokenizer.json"), f"{where}: tokenizer.json")
    readers: list[tuple[str, Callable[[Read, list[str], str], Vocabulary]]] = [
        ("vocab.json", _vocab_json),
        (".model", _sentencepiece),
        ("tekken.json", _tekken),
        (".tiktoken", _tiktoken),
    ]
    for ending, reader in readers:
        found = next((name for name in there if name.endswith(ending)), None)
        if found is not None:
            try:
                return reader(read, there, found)
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise BadCheckpoint(
                    f"{where}: {found} is not a vocabulary that can be read ({type(error).__name__}: {error})",
                    hint="get the file again from its source, or save the tokenizer with transformers' save_pretrained",
                ) from None
    return None


def _vocab_json(read: Read, there: list[str], name: str) -> Vocabulary:
    added = json.loads(read("added_tokens.json")) if "added_tokens.json" in there else {}
    tokens = {int(number): str(token) for token, number in json.loads(read(name)).items()}
    special = {int(number): str(token) for token, number in added.items()}
    merges = ""
    if "merges.txt" in there:
        lines = read("merges.txt").decode().splitlines()
        rules = [line for line in lines if line and not line.startswith("#version")]
        merges = hashlib.sha256("\n".join(rules).encode()).hexdigest() if rules else ""
    ordinary = {number: token for number, token in tokens.items() if number not in special}
    return Vocabulary(ordinary=ordinary, added=special, merges=merges, form=TEXT)


def _sentencepiece(read: Read, there: list[str], name: str) -> Vocabulary:
    content = read(name)
    if TIKTOKEN_LINE.match(content):
        return _ranks(content)
    pieces = [dict(_fields(piece)) for number, piece in _fields(content) if number == 1]
    if not pieces:
        raise ValueError("it holds no pieces")
    text = {index: _bytes(piece[1]).decode() for index, piece in enumerate(pieces)}
    control = {index for index, piece in enumerate(pieces) if piece.get(3) in CONTROL_PIECES}
    return Vocabulary(
        ordinary={index: token for index, token in text.items() if index not in control},
        added={index: text[index] for index in control},
        merges="",
        form=TEXT,
    )


def _tekken(read: Read, there: list[str], name: str) -> Vocabulary:
    document = json.loads(read(name))
    first = int(document["config"]["default_num_special_tokens"])
    tokens = {first + int(entry["rank"]): str(entry["token_bytes"]) for entry in document["vocab"]}
    special = {int(entry["rank"]): str(entry["token_str"]) for entry in document.get("special_tokens") or ()}
    return Vocabulary(ordinary=tokens, added=special, merges="", form="tekken")


def _tiktoken(read: Read, there: list[str], name: str) -> Vocabulary:
    return _ranks(read(name))


def _ranks(content: bytes) -> Vocabulary:
    rows = (line.split() for line in content.decode().splitlines() if line.strip())
    return Vocabulary(ordinary={int(rank): token for token, rank in rows}, added={}, merges="", form="tiktoken")


def _bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a piece has no text")
    return value


def _fields(message: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protobuf message: their numbers, with bytes, or the number of a varint.

    https://protobuf.dev/programming-guides/encoding/
    """
    data, position = _bytes(message), 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            if kind != 2:
                raise ValueError("it is no protobuf")
            length, position = _varint(data, position)
        if position + length > len(data):
            raise ValueError("it is cut short")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
