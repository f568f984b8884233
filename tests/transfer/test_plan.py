"""What releases of real families look like in their configs, and what a person is told of it."""

import json

import numpy as np
import pytest

from components.checkpoints.layout import read_layout
from components.errors import BadCheckpoint, BadReference, Incompatible
from components.planning import TransferRequest, preview_transfer
from components.sources.folder import FolderSource
from components.transfer.plan import plan_transfer
from components.transfer.scale import parse_scale
from tests.support.tinymodels import WORDS, make_checkpoint, read_weights, write_tokenizer, write_weights


@pytest.fixture
def folders(tmp_path):
    return [make_checkpoint(tmp_path / name, seed=seed) for seed, name in enumerate(("base", "tuned", "target"))]


def change(folder, **values):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def plan(folders):
    base, tuned, target = (read_layout(FolderSource(path=folder)) for folder in folders)
    return plan_transfer(source_base=base, source_tuned=tuned, target_base=target, scale=parse_scale("1"), dtype="auto")


def test_transformers_4_and_5_spell_rotary_embeddings_differently(folders):
    change(folders[2], rope_theta=..., rope_parameters={"rope_theta": 10000.0, "rope_type": "default"})
    assert plan(folders).notes == ()


def test_a_release_with_longer_context_is_told_and_kept(folders):
    scaling = {"rope_type": "llama3", "factor": 8.0}
    change(folders[2], rope_scaling=scaling, max_position_embeddings=131072)
    notes = " ".join(plan(folders).notes)
    assert "rope_scaling" in notes
    assert "131072 (target base)" in notes


def test_a_fine_tune_with_other_values_than_its_base_is_told(folders):
    change(folders[1], rope_theta=500000.0)
    assert "500000.0 (source fine-tuned)" in " ".join(plan(folders).notes)


def test_a_missing_architecture_is_no_difference(folders):
    change(folders[1], architectures=None)
    assert plan(folders)


def test_the_bases_tokenizers_are_compared_even_without_the_fine_tunes(folders):
    (folders[1] / "tokenizer.json").unlink()
    write_tokenizer(folders[2], vocab=[*reversed(WORDS)])
    with pytest.raises(Incompatible, match="ids stand for different tokens"):
        plan(folders)


def test_a_tied_head_of_another_shape_is_refused(folders):
    weights = read_weights(folders[2]) | {"lm_head.weight": np.zeros((20, 7), np.float32)}
    write_weights(folders[2], weights)
    with pytest.raises(Incompatible, match=r"lm_head\.weight: \[20, 7\]"):
        plan(folders)


def test_an_adapter_is_named_as_one(folders):
    (folders[1] / "config.json").unlink()
    (folders[1] / "adapter_config.json").write_text("{}")
    with pytest.raises(BadCheckpoint, match="adapter"):
        plan(folders)


def test_nan_does_not_hide_that_bases_are_unrelated(folders):
    weights = read_weights(folders[0])
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = np.nan
    write_weights(folders[0], weights)
    base, tuned, target = map(str, folders)
    found = preview_transfer(
        TransferRequest(source_base=base, source_tuned=tuned, target_base=target, scale=parse_scale("1"))
    )
    assert found.gap == pytest.approx(1.41, abs=0.1)
    assert "unrelated" in found.forecast.warning


@pytest.mark.parametrize("name", ["", "~nosuchuser/x", "x" * 5000, "a\0b"])
def test_names_that_are_no_paths(folders, name):
    with pytest.raises(BadReference):
        preview_transfer(TransferRequest(source_base=name, target_base=str(folders[2]), scale=parse_scale("1")))
