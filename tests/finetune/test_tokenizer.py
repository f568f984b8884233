import json

import pytest

from components.errors import BadCheckpoint, BadParameter
from components.finetune.recipe import load_recipe
from components.finetune.tokenizer import check_chat_template, load_tokenizer, padding_for
from tests.support.tinymodels import CHAT_TEMPLATE, SPECIAL, WORDS, write_tokenizer

ROWS = len(SPECIAL) + len(WORDS)


def tokenizer(folder, chat_template=CHAT_TEMPLATE, **settings):
    write_tokenizer(folder, chat_template=chat_template)
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return load_tokenizer(folder)


def test_a_padding_token_of_its_own_is_kept(tmp_path):
    assert padding_for(tokenizer(tmp_path), ROWS) is None


@pytest.mark.parametrize("pad", [None, "<|end|>"])
def test_without_one_a_token_that_is_there_takes_its_place(tmp_path, pad):
    assert padding_for(tokenizer(tmp_path, pad_token=pad), ROWS) == "<|pad|>"


def test_a_tokenizer_larger_than_the_embedding(tmp_path):
    with pytest.raises(BadCheckpoint, match=f"has {ROWS} tokens and its embedding {ROWS - 1} rows"):
        padding_for(tokenizer(tmp_path), ROWS - 1)


def recipe(**changes):
    return load_recipe("tiny-open-instruct").model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "settings", "model_type", "error", "complaint"),
    [
        ({}, {"chat_template": None}, "llama", BadCheckpoint, "no chat template"),
        ({"add_bos": True}, {"bos_token": None}, "llama", BadParameter, "no bos_token"),
        ({"add_bos": True}, {"chat_template": "{{ bos_token }}x"}, "llama", BadParameter, "begins with that token"),
        ({"add_bos": True}, {"chat_template": "<|bos|>x"}, "llama", BadParameter, "begins with that token"),
        ({"chat_template": "tulu"}, {}, "olmo2", BadParameter, "add_bos: true"),
    ],
)
def test_what_does_not_go_together(tmp_path, changes, settings, model_type, error, complaint):
    made = tokenizer(tmp_path, **settings)
    with pytest.raises(error, match=complaint):
        check_chat_template(recipe(**changes), made, model_type)


def test_what_goes_together(tmp_path):
    made = tokenizer(tmp_path)
    check_chat_template(recipe(), made, "olmo2")
    check_chat_template(recipe(chat_template="tulu", add_bos=True), made, "olmo2")
    check_chat_template(recipe(chat_template="tulu"), made, "llama")
