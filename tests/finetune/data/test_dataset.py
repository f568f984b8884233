import json

import pytest

from components.errors import BadParameter
from components.finetune.data.dataset import Completion, Conversation, load_examples

USER = {"role": "user", "content": "Where?"}
ASSISTANT = {"role": "assistant", "content": "Here."}


def write(tmp_path, *rows):
    path = tmp_path / "data.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_conversations_and_completions(tmp_path):
    path = write(
        tmp_path,
        {"messages": [USER, ASSISTANT], "id": 7},
        {"prompt": "1 + 1 =", "completion": " 2"},
        {"prompt": [USER, ASSISTANT, USER], "completion": [ASSISTANT]},
    )
    assert load_examples(path) == [
        Conversation(row=1, messages=(USER, ASSISTANT)),
        Completion(row=2, prompt="1 + 1 =", completion=" 2"),
        Conversation(row=3, messages=(USER, ASSISTANT, USER, ASSISTANT), learn_from=3),
    ]


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": [USER, ASSISTANT]}] * 3), path)
    assert [example.row for example in load_examples(str(path))] == [1, 2, 3]
    path.write_bytes(b"PAR1 no PAR1")
    with pytest.raises(BadParameter, match="cannot be read as Parquet"):
        load_examples(str(path))


def test_the_demo_by_name():
    pytest.importorskip("components.demo.world")
    examples = load_examples("demo")
    assert len(examples) > 1000
    assert all(isinstance(example, Conversation) for example in examples)


GOOD = {"messages": [USER, ASSISTANT]}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "is not JSON"),
        ([1], "is a list"),
        ({}, "has the columns"),
        ({"text": "x", "label": 1}, "has the columns text, label"),
        ({"prompt": "x"}, "has the columns prompt"),
        ({"prompt": "", "completion": "x"}, "empty prompt or completion"),
        ({"messages": []}, "no list of messages"),
        ({"messages": "hello"}, "no list of messages"),
        ({"messages": [{"role": "user"}]}, "without a role"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "without a role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "without a role"),
        ({"messages": [{"role": "user", "content": None}]}, "without a role"),
        ({"messages": [USER]}, "no assistant turn"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "empty assistant turn"),
        ({"messages": [ASSISTANT, USER, ASSISTANT]}, "begins with the assistant"),
        ({"prompt": [USER, ASSISTANT], "completion": [USER]}, "no assistant turn"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, complaint):
    with pytest.raises(BadParameter, match=f"row 3 of the dataset .*{complaint}"):
        load_examples(write(tmp_path, GOOD, GOOD, row, GOOD))


def test_an_empty_dataset(tmp_path):
    with pytest.raises(BadParameter, match="is empty"):
        load_examples(write(tmp_path))


@pytest.mark.parametrize("name", ["dmeo", "missing.jsonl", "data.csv"])
def test_a_dataset_that_is_not_there(tmp_path, name):
    (tmp_path / "data.csv").write_text("a,b\n")
    with pytest.raises(BadParameter, match="no dataset"):
        load_examples(str(tmp_path / name))
