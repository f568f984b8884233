import json

import pytest

from components.errors import BadCheckpoint
from components.evaluate.transformers4 import (
    has_chat_template,
    make_transformers4_copy,
    repair_config,
    repair_tokenizer_config,
)
from tests.support.tinymodels import make_checkpoint

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def test_positions_in_both_versions_words():
    config = {"model_type": "olmo2", "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}}
    assert repair_config(config) == config | {"rope_theta": 500000.0}
    assert "rope_theta" not in config


def test_scaled_positions_in_both_versions_words():
    config = {"rope_parameters": {"rope_theta": 5e5, "partial_rotary_factor": 0.5} | LLAMA3}
    assert repair_config(config) == config | {"rope_theta": 5e5, "partial_rotary_factor": 0.5, "rope_scaling": LLAMA3}


def test_what_version_4_wrote_stays():
    config = {"rope_theta": 5e5, "rope_scaling": LLAMA3}
    assert repair_config(config) == config


def test_positions_that_differ_between_layers_are_refused():
    rope = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    with pytest.raises(BadCheckpoint, match="differently in different layers"):
        repair_config({"rope_parameters": rope})


def test_the_tokenizers_class_and_special_tokens():
    written = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<|user|>"], "eos_token": "<|end|>"}
    assert repair_tokenizer_config(written) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<|user|>"],
        "eos_token": "<|end|>",
    }
    named = {"tokenizer_class": "GPT2Tokenizer", "extra_special_tokens": {"image_token": "<i>"}}
    assert repair_tokenizer_config(named) == named


def test_weights_are_linked_and_the_checkpoint_is_untouched(tmp_path):
    model = make_checkpoint(tmp_path / "model", architecture="olmo2", shards=2)
    config = json.loads((model / "config.json").read_text())
    del config["rope_theta"]
    (model / "config.json").write_text(json.dumps(config | {"rope_parameters": {"rope_theta": 5e5}}))
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    view = tmp_path / "view"
    make_transformers4_copy(model, view)
    assert {path.name for path in view.iterdir()} == before.keys()
    links = {path.name for path in view.iterdir() if path.is_symlink()}
    assert before.keys() - links == {"config.json", "tokenizer_config.json"}
    assert all((view / name).read_bytes() == before[name] for name in links)
    assert json.loads((view / "config.json").read_text())["rope_theta"] == 5e5
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_damaged_config(tmp_path):
    model = make_checkpoint(tmp_path / "model")
    (model / "config.json").write_text("[")
    with pytest.raises(BadCheckpoint, match="not a JSON object"):
        make_transformers4_copy(model, tmp_path / "view")


def test_a_chat_template_in_either_place(tmp_path):
    assert has_chat_template(make_checkpoint(tmp_path / "with"))
    without = make_checkpoint(tmp_path / "without", chat_template=None)
    assert not has_chat_template(without)
    config = json.loads((without / "tokenizer_config.json").read_text())
    (without / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": None}))
    assert not has_chat_template(without)
    (without / "chat_template.jinja").write_text("{{ messages }}")
    assert has_chat_template(without)
