import json

import pytest

from components.errors import BadParameter
from components.finetune.data.dataset import Part, load_examples, parts_of, pinned, text_of
from components.finetune.data.summary import summarize, write_conversations

USER = {"role": "user", "content": "Where?"}
ASSISTANT = {"role": "assistant", "content": "Here."}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def numbered(path, count):
    return write(path, *({"messages": [USER, {"role": "assistant", "content": f"{i}"}]} for i in range(count)))


def answers(examples):
    return [example.messages[1]["content"] for example in examples]


def test_a_dataset_is_counted_digested_and_previewed(tmp_path):
    long = {"role": "assistant", "content": "x" * 1000}
    path = write(tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT]}, {"messages": [USER, long]})
    seen = summarize(path)
    assert (seen.rows, seen.turns, seen.characters) == (2, 4, 6 + 5 + 6 + 1000)
    assert seen.preview == "user: Where?\nassistant: Here.\n\nuser: Where?\nassistant: " + "x" * 400 + "…"
    assert seen.params["dataset rows"] == 2
    assert summarize(path).digest == seen.digest
    write(tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT]}, {"messages": [USER, ASSISTANT]})
    assert summarize(path).digest != seen.digest


def test_a_mix_takes_shares(tmp_path):
    one, two = numbered(tmp_path / "one.jsonl", 4), numbered(tmp_path / "two.jsonl", 10)
    examples = load_examples((Part(dataset=one, weight=2.5), Part(dataset=two, weight=0.5)))
    assert [example.row for example in examples] == list(range(1, 16))
    first, second = answers(examples[:10]), answers(examples[10:])
    assert first[:8] == ["0", "1", "2", "3"] * 2
    assert len(set(first[8:])) == 2
    assert len(set(second)) == 5
    assert load_examples((Part(dataset=one, weight=2.5), Part(dataset=two, weight=0.5))) == examples


def test_a_share_is_the_one_that_open_instruct_takes(tmp_path):
    import numpy as np

    path = numbered(tmp_path / "one.jsonl", 10)
    chosen = np.random.RandomState(42).choice(10, size=5, replace=False)
    assert answers(load_examples((Part(dataset=path, weight=0.5),))) == [str(index) for index in chosen]


def test_a_mix_in_one_line(tmp_path):
    path = numbered(tmp_path / "one.jsonl", 1)
    assert text_of((Part(dataset=path), Part(dataset="demo", weight=0.25))) == f"1 × {path} + 0.25 × demo"
    assert parts_of("demo") == (Part(dataset="demo"),)
    assert pinned(path) == path
    with pytest.raises(BadParameter, match="no dataset 'nosuch'"):
        pinned((Part(dataset="demo"), Part(dataset="nosuch")))


def test_too_small_a_share_is_empty(tmp_path):
    with pytest.raises(BadParameter, match="is empty"):
        summarize((Part(dataset=numbered(tmp_path / "one.jsonl", 3), weight=0.1),))


def test_conversations_are_written_as_open_instruct_reads_them(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        {"messages": [USER, ASSISTANT], "id": 1},
        {"prompt": [USER], "completion": [{**ASSISTANT, "content": "Çà."}]},
    )
    write_conversations(path, tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()] == [
        {"messages": [USER, ASSISTANT]},
        {"messages": [USER, {"role": "assistant", "content": "Çà."}]},
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "1 + 1 =", "completion": " 2"}, "row 1 of the dataset is plain text"),
        ({"prompt": [USER, ASSISTANT, USER], "completion": [ASSISTANT]}, "assistant turn in its prompt"),
    ],
)
def test_what_open_instruct_would_learn_otherwise_is_refused(tmp_path, row, complaint):
    with pytest.raises(BadParameter, match=complaint):
        write_conversations(write(tmp_path / "a.jsonl", row), tmp_path / "out.jsonl")
