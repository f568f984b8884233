import shutil
from types import SimpleNamespace

import pytest

from components.errors import BadParameter
from components.finetune.cached import finetune_in_store
from components.finetune.open_instruct import checkout as open_instruct_checkout
from components.finetune.open_instruct import train as open_instruct_train
from components.finetune.open_instruct.memory import Hardware
from components.finetune.recipe import load_recipe
from components.references.save import save_checkpoint
from components.store.store import open_store
from tests.support.tinymodels import make_checkpoint, read_weights, write_weights


class Seen:
    """What a run would have recorded, and how often something was trained."""

    def __init__(self):
        self.logged, self.texts, self.trained, self.commit = {}, {}, 0, "a" * 40

    def params(self, values):
        self.logged |= values

    def text(self, content, path):
        self.texts[path] = content

    def metrics(self, values, step=0):
        pass


@pytest.fixture
def seen(monkeypatch):
    seen = Seen()

    def checkout():
        return SimpleNamespace(
            trainer=f"open-instruct {seen.commit}",
            hardware=Hardware(device="cpu", devices=1, device_bytes=10**9, host_bytes=10**9),
        )

    def train(work, *, output, scratch, report, note):
        seen.trained += 1
        shutil.copytree(work.base, output, ignore=shutil.ignore_patterns("checkpoint.json"))
        weights = {name: tensor + 0.5 * seen.trained for name, tensor in read_weights(output).items()}
        write_weights(output, weights)

    monkeypatch.setattr(open_instruct_checkout, "find_checkout", checkout)
    monkeypatch.setattr(open_instruct_train, "finetune", train)
    return seen


@pytest.fixture
def base(tmp_path):
    return save_checkpoint(str(make_checkpoint(tmp_path / "base")), open_store())


def tune(base, seen, **changes):
    recipe = load_recipe("tiny-open-instruct").model_copy(update={"departures": ("It differs.",)} | changes)
    return finetune_in_store(base, recipe, "", open_store(), seen)


def test_what_trained_and_where_it_departs_is_recorded(base, seen):
    made = tune(base, seen)
    settings = made.derivation.settings
    assert settings["trainer"] == f"open-instruct {'a' * 40}"
    assert settings["departures"] == "(1) It differs."
    assert settings["dataset digest"] == seen.logged["dataset digest"]
    assert seen.logged["dataset rows"] > 1000
    assert seen.texts["dataset-preview.txt"].startswith("user: ")
    assert made.name == "base-tiny-open-instruct"


def test_the_same_work_is_not_done_again_and_other_work_is(base, seen):
    first = tune(base, seen)
    assert tune(base, seen, departures=("Said otherwise.",), description="Other words.") == first
    assert seen.trained == 1
    assert tune(base, seen, effective_batch_size=2).digest != first.digest
    seen.commit = "b" * 40
    assert tune(base, seen).digest != first.digest
    assert seen.trained == 3


def test_without_open_instruct_nothing_is_made(base, monkeypatch):
    with pytest.raises(BadParameter, match=r"RECYCLE_OPEN_INSTRUCT is not set[\s\S]*recipe for trl"):
        tune(base, Seen())
    assert list((open_store().root / "staging").glob("fine-tune-*")) == []
