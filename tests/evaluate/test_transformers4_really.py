"""Logits of a checkpoint in transformers 5, and of its view in the transformers 4 of OLMES's environment."""

import json
import os
import subprocess

import numpy as np
import pytest

from components.evaluate.transformers4 import make_transformers4_copy
from tests.support.olmes_checkout import PYTHON, needs_olmes
from tests.support.tinymodels import make_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_olmes]

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LOGITS = """
import sys, json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, ids = sys.argv[1], json.loads(sys.argv[2])
tokens = None
if sys.argv[3] == "tokenizer":
    tokens = AutoTokenizer.from_pretrained(folder)("<|user|> Where does word3 live?")["input_ids"]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
with torch.no_grad():
    print(json.dumps([model(torch.tensor([ids])).logits[0].tolist(), tokens]))
"""
IDS = [1, 2, *range(6, 66)]


def logits_in_version_4(folder, tokenizer="tokenizer"):
    answer = subprocess.run(
        [PYTHON, "-c", LOGITS, folder, json.dumps(IDS), tokenizer],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    logits, tokens = json.loads(answer.stdout.splitlines()[-1])
    return np.array(logits), tokens


@pytest.mark.parametrize(("architecture", "scaling"), [("olmo2", None), ("llama", LLAMA3)])
def test_the_view_gives_the_logits_of_version_5_and_the_checkpoint_itself_does_not(tmp_path, architecture, scaling):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = make_checkpoint(tmp_path / "source", architecture=architecture, std=0.5)
    config = json.loads((source / "config.json").read_text()) | {"rope_theta": 500000.0}
    (source / "config.json").write_text(json.dumps(config | ({"rope_scaling": scaling} if scaling else {})))
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|user|>"]})
    saved = tmp_path / "saved"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    assert "rope_theta" not in json.loads((saved / "config.json").read_text())

    with torch.no_grad():
        truth = model.float()(torch.tensor([IDS])).logits[0].numpy()
    view = tmp_path / "view"
    make_transformers4_copy(saved, view)
    ours, tokens = logits_in_version_4(view)
    theirs, _ = logits_in_version_4(saved, tokenizer="none")
    assert np.abs(ours - truth).max() < 1e-4 * np.abs(truth).max()
    assert np.abs(theirs - truth).max() > 1e-2 * np.abs(truth).max()
    assert tokens == tokenizer("<|user|> Where does word3 live?")["input_ids"]
    with pytest.raises(subprocess.CalledProcessError):
        logits_in_version_4(saved)
