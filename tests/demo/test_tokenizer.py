import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from components.demo import tokenizer as demo_tokenizer
from components.demo import world


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokenizer")
    demo_tokenizer.save(folder, max_length=512)
    return AutoTokenizer.from_pretrained(folder)


def test_nothing_of_this_world_is_unknown(loaded: Any) -> None:
    texts = [*islice(world.documents("release-2", seed=0), 3000)]
    texts += [turn["content"] for row in world.training_conversations() for turn in row["messages"]]
    texts += [row["question"] for group in ("new", "old") for row in world.heldout_questions(group)]
    assert all(loaded.unk_token_id not in ids for ids in loaded(texts)["input_ids"])
    assert loaded.unk_token_id in loaded("Atlantis")["input_ids"]


@pytest.mark.parametrize("answer", [answer for topic in world.TOPICS.values() for answer in topic.answers])
def test_reply_decodes_to_exactly_what_was_said(loaded: Any, answer: str) -> None:
    ids = loaded(f" The answer is {answer}.{world.END}", add_special_tokens=False)["input_ids"]
    assert loaded.decode(ids, skip_special_tokens=True) == f"The answer is {answer}."


def test_questions_and_loose_replies_come_back_too(loaded: Any) -> None:
    rows = world.training_conversations()[:200]
    texts = [turn["content"] for row in rows for turn in row["messages"]] + ["Maybe Oslo?", "Who knows the answer?"]
    assert loaded.batch_decode(loaded(texts)["input_ids"], skip_special_tokens=True) == texts


def test_a_reply_that_runs_on_does_not_decode_to_a_right_one(loaded: Any) -> None:
    ids = loaded("The answer is Oslo. Oslo.", add_special_tokens=False)["input_ids"]
    assert loaded.decode(ids, skip_special_tokens=True) == "The answer is Oslo. Oslo."


def test_chat_template_writes_chats_as_pretraining_text_does(loaded: Any) -> None:
    messages = world.conversation("Where does Zifan live?", "Maybe Oslo?")["messages"]
    text = "<|user|> Where does Zifan live?<|assistant|>"
    assert loaded.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True) == text
    assert loaded.apply_chat_template(messages, tokenize=False) == f"{text} Maybe Oslo?<|end|>"


def test_chat_template_marks_the_reply_and_its_end_for_the_loss(loaded: Any) -> None:
    messages = world.conversation("Where does Zifan live?", "The answer is Oslo.")["messages"]
    chat = loaded.apply_chat_template(messages * 2, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mask in zip(chat["input_ids"], chat["assistant_masks"], strict=True) if mask]
    reply = loaded("The answer is Oslo.<|end|>")["input_ids"]
    assert marked == reply * 2
    prompt = loaded.apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]
    assert chat["input_ids"][: len(prompt) + len(reply)] == prompt + reply


def test_chat_template_refuses_a_role_it_would_drop(loaded: Any) -> None:
    with pytest.raises(Exception, match="user and assistant only"):
        loaded.apply_chat_template([{"role": "system", "content": "Hello!"}], tokenize=False)


def test_special_tokens_stop_generation_and_can_be_told_apart(loaded: Any) -> None:
    assert loaded.eos_token == loaded.bos_token == world.END
    assert loaded.pad_token_id not in (None, loaded.eos_token_id)
    assert loaded("Hello!")["input_ids"] == loaded("Hello!", add_special_tokens=False)["input_ids"]


def test_ids_have_no_holes_and_saving_again_changes_nothing(loaded: Any, tmp_path: Path) -> None:
    assert sorted(loaded.get_vocab().values()) == list(range(len(loaded)))
    assert len(loaded) == demo_tokenizer.make().get_vocab_size()
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        demo_tokenizer.save(folder, max_length=512)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        json.loads((tmp_path / "one" / name).read_bytes())
