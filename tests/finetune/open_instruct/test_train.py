import json
from pathlib import Path

import pytest

from components.checkpoints.layout import read_layout
from components.errors import BadCheckpoint
from components.finetune.data.summary import DatasetSummary
from components.finetune.open_instruct.checkout import Checkout
from components.finetune.open_instruct.memory import Hardware
from components.finetune.open_instruct.train import TrainingJob, plan
from components.finetune.recipe import OpenInstructRecipe, load_recipe
from components.sources.folder import FolderSource
from tests.support.tinymodels import make_checkpoint

CPU = Hardware(device="cpu", devices=1, device_bytes=8 * 10**9, host_bytes=8 * 10**9)


def planned(base):
    recipe = load_recipe("tiny-open-instruct")
    assert isinstance(recipe, OpenInstructRecipe)
    work = TrainingJob(
        base=base,
        base_digest="0" * 64,
        recipe=recipe,
        data=DatasetSummary(dataset="demo", rows=8, digest="0" * 64, turns=16, characters=100, preview=""),
        checkout=Checkout(
            folder=Path("oi"), python=Path("python"), commit="0" * 40, sources="0" * 64, versions={}, hardware=CPU
        ),
        hardware=CPU,
    )
    return plan(work, read_layout(FolderSource(path=base)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_a_base_is_taken_in_any_dtype_that_open_instruct_loads_as_bfloat16(tmp_path, dtype):
    assert planned(make_checkpoint(tmp_path, dtype=dtype)).processes == 1


def test_a_base_in_a_dtype_that_cannot_be_transferred_is_refused(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"stored as F64"):
        planned(make_checkpoint(tmp_path, dtype="float64"))


def test_a_base_without_the_settings_of_its_tokenizer_is_refused(tmp_path):
    base = make_checkpoint(tmp_path)
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").unlink()
    (base / "chat_template.jinja").write_text(settings["chat_template"])
    with pytest.raises(BadCheckpoint, match=r"has no tokenizer_config\.json"):
        planned(base)
