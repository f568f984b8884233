import json

import pytest

from components.errors import BadParameter, BadReference, DigestMismatch, ServiceUnavailable
from components.finetune.data.dataset import HUB_PREFIX, check_dataset, load_examples, pinned
from tests.support.fakehub import FakeHub, server  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures are imported, and asked for by name

NAME = "org/sums"
ROWS = [
    {"messages": [{"role": "user", "content": f"{i} + 1"}, {"role": "assistant", "content": f"{i + 1}"}]}
    for i in range(4)
]


@pytest.fixture
def hub(server, monkeypatch):
    server.reset()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


@pytest.fixture
def folder(tmp_path):
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path / "dataset"
    (folder / "data").mkdir(parents=True)
    for index in (0, 1):
        table = pyarrow.Table.from_pylist(ROWS[2 * index : 2 * index + 2])
        pyarrow.parquet.write_table(table, folder / "data" / f"train-0000{index}-of-00002.parquet")
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(b"not for training")
    (folder / "README.md").write_text("a dataset")
    return folder


def contents(examples):
    return [example.messages[1]["content"] for example in examples]


def test_the_training_split_is_read_at_its_commit(hub, folder):
    commit = hub.add(f"datasets/{NAME}", folder)
    dataset = pinned(HUB_PREFIX + NAME)
    assert dataset == f"hub:{NAME}@{commit}"
    assert contents(load_examples(dataset)) == ["1", "2", "3", "4"]
    asked = len(hub.seen)
    assert contents(load_examples(dataset)) == ["1", "2", "3", "4"]
    assert len(hub.seen) == asked
    assert not hub.requests("test-00000")


def test_a_branch_that_moves_gives_other_data(hub, folder):
    hub.add(f"datasets/{NAME}", folder, tag="v1")
    before = pinned(f"hub:{NAME}")
    (folder / "README.md").write_text("another")
    hub.add(f"datasets/{NAME}", folder)
    assert pinned(f"hub:{NAME}") != before
    assert pinned(f"hub:{NAME}@v1") == before


def test_jsonl_files_that_the_card_names(hub, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, rows in (("first.jsonl", ROWS[:1]), ("second.jsonl", ROWS[1:])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [{"split": "train", "path": "second.jsonl"}, {"split": "test", "path": "first.jsonl"}]
    card = {"configs": [{"config_name": "default", "data_files": files}]}
    hub.add(f"datasets/{NAME}", folder, card=card)
    assert contents(load_examples(f"hub:{NAME}")) == ["2", "3", "4"]
    check_dataset(f"hub:{NAME}")


def test_changed_bytes_are_refused_and_fetched_again(hub, folder):
    hub.add(f"datasets/{NAME}", folder)
    hub.fail("flip", "train-00001", storage=True)
    with pytest.raises(DigestMismatch, match="train-00001"):
        load_examples(f"hub:{NAME}")
    assert contents(load_examples(f"hub:{NAME}")) == ["1", "2", "3", "4"]
    assert len(hub.requests("train-00000", storage=True)) == 1


def test_rows_that_cannot_be_learned_from(hub, tmp_path, caplog):
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows = [*(ROWS * 30), {"messages": []}]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hub.add(f"datasets/{NAME}", folder)
    assert len(load_examples(f"hub:{NAME}")) == 120
    assert "1 of the 121 rows of hub:org/sums are left out; row 121" in caplog.text
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": "x"}) + "\n" for _ in range(9)))
    hub.add(f"datasets/{NAME}", folder)
    with pytest.raises(
        BadParameter, match=r"9 of the 9 rows .* cannot be learned from; row 1 of the dataset has the col"
    ):
        load_examples(f"hub:{NAME}")


def test_what_is_not_there(hub, folder):
    with pytest.raises(BadReference, match="no dataset org/nosuch@main"):
        pinned("hub:org/nosuch")
    hub.add(f"datasets/{NAME}", folder)
    with pytest.raises(BadReference, match="no such revision"):
        pinned(f"hub:{NAME}@v9")
    with pytest.raises(BadReference, match="cannot be a dataset"):
        pinned("hub:org/name/more")
    for path in (folder / "data").glob("train*"):
        path.unlink()
    hub.add(f"datasets/{NAME}", folder)
    with pytest.raises(BadReference, match="no JSONL or Parquet files of a split 'train'"):
        load_examples(f"hub:{NAME}")


@pytest.mark.parametrize("name", ["../../train.jsonl", "/tmp/train.jsonl", "data/../../train.jsonl", "a//train.jsonl"])
def test_a_file_that_is_to_lie_elsewhere(hub, folder, name):
    hub.add(f"datasets/{NAME}", folder)
    hub.siblings = [{"rfilename": name, "size": 1, "blobId": "0" * 40}]
    with pytest.raises(BadReference, match="not a plain relative path"):
        load_examples(f"hub:{NAME}")
    assert not hub.requests("/resolve/")


def test_files_whose_names_differ_in_their_folders_alone(hub, tmp_path):
    source = tmp_path / "dataset"
    (source / "a").mkdir(parents=True)
    for name, row in (("a--train.jsonl", ROWS[0]), ("a/train.jsonl", ROWS[1])):
        (source / name).write_text(json.dumps(row))
    hub.add(f"datasets/{NAME}", source)
    assert contents(load_examples(f"hub:{NAME}")) == ["1", "2"]


def test_a_hub_that_does_not_answer(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="does not give the dataset org/sums"):
        pinned(f"hub:{NAME}")
