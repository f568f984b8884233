import json

import pytest
import yaml

from components.checkpoints.description import describe
from components.checkpoints.layout import read_layout
from components.checkpoints.manifest import File
from components.evaluate import cached as in_store
from components.evaluate.harness import Harness
from components.evaluate.suite import load_suite
from components.judging.evaluation import Sample, TaskScore
from components.sources.folder import FolderSource
from components.store.store import open_store
from components.system.files import sha256_file
from tests.support.tinymodels import make_checkpoint

README = "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: test.jsonl\n---\n"


class Asked:
    """Counts what is asked, in place of a harness."""

    def __init__(self, monkeypatch):
        self.times, self.identity, self.works = 0, ("olmes", "source", "transformers 4.57.6"), []
        monkeypatch.setattr(
            in_store,
            "find_harness",
            lambda suite: Harness(name="h", without_template="", identity=self.identity, ask=self),
        )

    def __call__(self, model, work):
        assert not any(work.iterdir())
        self.times += 1
        self.works.append(work)
        sample = Sample(task="gsm8k::tulu", id="0", question="q", expected="e", reply="r", score=1.0)
        return (TaskScore(task="gsm8k::tulu", description="d", metric="m", score=1.0, samples=1),), (sample,)


@pytest.fixture
def asked(monkeypatch):
    return Asked(monkeypatch)


def checkpoint(folder, **changes):
    source = FolderSource(path=make_checkpoint(folder, **changes))
    layout = read_layout(source)
    files = tuple(File(path=f.path, size=f.size, sha256=sha256_file(folder / f.path)) for f in layout.files)
    return describe(layout, name=folder.name, files=files, origin={})


def suite(folder, *, answer="1", limit=4):
    data = folder / "gsm8k"
    data.mkdir(exist_ok=True)
    (data / "README.md").write_text(README)
    (data / "test.jsonl").write_text(json.dumps({"question": "q", "answer": f"#### {answer}"}) + "\n")
    task = {"name": "gsm8k::tulu", "description": "d", "data": "gsm8k", "limit": limit}
    settings = {"add_bos_token": True, "dtype": "bfloat16"}
    content = {"name": "own", "description": "d", "harness": "olmes", "tasks": [task], "settings": settings}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return load_suite(str(folder / "own.yaml"))


def test_the_same_is_never_asked_twice(asked, tmp_path):
    model, store = checkpoint(tmp_path / "a"), open_store()
    first = in_store.evaluate_in_store(model, suite(tmp_path), store)
    again = in_store.evaluate_in_store(model.model_copy(update={"name": "other"}), suite(tmp_path), store)
    assert asked.times == 1
    assert (first.model_name, again.model_name) == ("a", "other")
    assert again.model_copy(update={"model_name": "a"}) == first


@pytest.mark.parametrize("change", ["model", "data", "limit", "harness"])
def test_anything_else_is_asked_again_in_a_folder_of_its_own(asked, tmp_path, change):
    model, store = checkpoint(tmp_path / "a"), open_store()
    in_store.evaluate_in_store(model, suite(tmp_path), store)
    if change == "model":
        model = checkpoint(tmp_path / "b", seed=9)
    if change == "harness":
        asked.identity = ("olmes", "edited source", "transformers 4.57.6")
    changed = suite(tmp_path, answer="2" if change == "data" else "1", limit=5 if change == "limit" else 4)
    in_store.evaluate_in_store(model, changed, store)
    assert asked.times == 2
    assert len(set(asked.works)) == 2


def test_a_damaged_record_is_made_again(asked, tmp_path, caplog):
    model, store = checkpoint(tmp_path / "a"), open_store()
    first = in_store.evaluate_in_store(model, suite(tmp_path), store)
    (record,) = (store.root / "results" / "evaluation").iterdir()
    record.write_text(record.read_text()[:50])
    assert in_store.evaluate_in_store(model, suite(tmp_path), store).samples == first.samples
    assert asked.times == 2
    assert f"results/evaluation/{record.name} is damaged" in caplog.text
