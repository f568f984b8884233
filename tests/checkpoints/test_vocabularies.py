"""Vocabularies that are not in a tokenizer.json."""

import base64

import pytest

from components.checkpoints.vocabularies import read_vocabulary
from components.errors import BadCheckpoint

RANKS = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate((b"a", b"b", b"ab")))


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tokenizer.model", "tiktoken.model"])
def test_tiktoken_ranks_are_read_whatever_their_file_is_called(name):
    found = read_vocabulary({name: RANKS}.__getitem__, [name], "a checkpoint")
    assert (found.form, found.size, found.ordinary[2]) == ("tiktoken", 3, "YWI=")


def test_a_model_file_that_is_neither_is_told():
    with pytest.raises(BadCheckpoint, match=r"tokenizer\.model is not a vocabulary"):
        read_vocabulary({"tokenizer.model": b"<html>"}.__getitem__, ["tokenizer.model"], "a checkpoint")
