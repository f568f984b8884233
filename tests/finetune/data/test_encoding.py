import pytest

from components.errors import BadParameter
from components.finetune.data.dataset import Completion, Conversation
from components.finetune.data.encoding import IGNORED, encode
from tests.support.tinymodels import CHAT_TEMPLATE, write_tokenizer

USER = {"role": "user", "content": "Where does word3 live?"}
ANSWER = {"role": "assistant", "content": "The answer is word7."}
OTHER = {"role": "assistant", "content": "The answer is word8."}


@pytest.fixture
def tokenizer(tmp_path):
    return load(tmp_path, CHAT_TEMPLATE)


def load(folder, chat_template):
    from transformers import AutoTokenizer

    write_tokenizer(folder, chat_template=chat_template)
    return AutoTokenizer.from_pretrained(folder)


def learned(tokenizer, example):
    return tokenizer.decode([label for label in example.labels if label != IGNORED])


def conversation(*messages, row=1, learn_from=0):
    return Conversation(row=row, messages=messages, learn_from=learn_from)


def test_the_answer_and_the_end_of_its_turn_are_learned(tokenizer):
    (example,) = encode([conversation(USER, ANSWER)], tokenizer, max_length=64)
    assert tokenizer.decode(example.input_ids) == (
        "<|user|> Where does word3 live?<|assistant|> The answer is word7.<|end|>"
    )
    assert learned(tokenizer, example) == "The answer is word7.<|end|>"
    assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.input_ids, strict=True))


def test_what_is_not_learned_is_the_prompt_of_inference(tokenizer):
    (example,) = encode([conversation(USER, ANSWER)], tokenizer, max_length=64)
    prompt = tokenizer.apply_chat_template([USER], add_generation_prompt=True, return_dict=False)
    assert example.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert example.input_ids[: len(prompt)] == prompt
    assert IGNORED not in example.labels[len(prompt) :]


def test_every_answer_of_a_conversation_is_learned(tokenizer):
    (example,) = encode([conversation(USER, ANSWER, USER, OTHER)], tokenizer, max_length=64)
    assert learned(tokenizer, example) == "The answer is word7.<|end|> The answer is word8.<|end|>"


def test_answers_in_a_prompt_are_not_learned(tokenizer):
    (example,) = encode([conversation(USER, ANSWER, USER, OTHER, learn_from=3)], tokenizer, max_length=64)
    assert learned(tokenizer, example) == "The answer is word8.<|end|>"


def test_plain_completions_end_with_the_end_of_sequence(tokenizer):
    (example,) = encode([Completion(row=1, prompt="Where?", completion=" word5.")], tokenizer, max_length=64)
    assert learned(tokenizer, example) == "word5.<|end|>"


def test_examples_of_both_kinds_keep_their_order(tokenizer):
    examples = [
        conversation(USER, ANSWER, row=1),
        Completion(row=2, prompt="Where?", completion=" word5"),
        conversation(USER, OTHER, row=3),
    ]
    texts = [learned(tokenizer, example) for example in encode(examples, tokenizer, max_length=64)]
    assert texts == ["The answer is word7.<|end|>", "word5<|end|>", "The answer is word8.<|end|>"]


def test_long_examples_are_cut_and_dropped_when_no_answer_is_left(tokenizer):
    long = conversation({"role": "user", "content": "Where " * 30}, ANSWER, row=2)
    (kept,) = encode([conversation(USER, ANSWER), long], tokenizer, max_length=10)
    assert len(kept.input_ids) == len(kept.labels) == 10
    assert learned(tokenizer, kept) == "The answer is"
    with pytest.raises(BadParameter, match="begins within 5 tokens"):
        encode([conversation(USER, ANSWER)], tokenizer, max_length=5)


def test_byte_level_tokens_with_trimmed_ranges(tmp_path):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    inner.add_special_tokens([AddedToken("<|end|>", special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}\n{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant\n{% endif %}"
    )
    answer = {"role": "assistant", "content": "\n a  b\n\nç\n"}
    (example,) = encode([conversation(USER, answer)], tokenizer, max_length=999)
    assert learned(tokenizer, example) == "\n a  b\n\nç\n<|end|>\n"


def test_a_base_without_a_chat_template(tmp_path):
    with pytest.raises(BadParameter, match="no chat template"):
        encode([conversation(USER, ANSWER)], load(tmp_path, None), max_length=64)


def test_a_template_that_rewrites_the_past(tmp_path):
    last_only = "{{ '<|user|> ' + messages|length|string + messages[-1]['content'] }}<|end|>"
    with pytest.raises(BadParameter, match="row 5: the chat template writes the beginning"):
        encode([conversation(USER, ANSWER, USER, OTHER, row=5)], load(tmp_path, last_only), max_length=64)


def test_a_template_that_does_not_end_turns(tmp_path):
    endless = CHAT_TEMPLATE.replace("<|end|>", "")
    with pytest.raises(BadParameter, match="never learn to stop"):
        encode([conversation(USER, ANSWER)], load(tmp_path, endless), max_length=64)
