"""Whatever heads, rows, dtypes, names and buffers come together: the loaded models' arithmetic is what comes out."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.loaded_models import assert_as_loaded, edit, transfer
from tests.support.tinymodels import SPECIAL, WORDS, make_checkpoint, read_weights, write_weights

ROWS = len(SPECIAL) + len(WORDS)
INPUTS, HEAD = "model.embed_tokens.weight", "lm_head.weight"

models = st.fixed_dictionaries(
    {
        "head": st.sampled_from(["tied", "copied", "trained", "untied"]),
        "rows": st.integers(ROWS, ROWS + 5),
        "dtype": st.sampled_from(["bfloat16", "float32"]),
        "shards": st.integers(1, 3),
        "bare": st.booleans(),
        "buffers": st.booleans(),
    }
)


def write(folder, seed, model, dtype):
    """One checkpoint; what is stored is bfloat16's values, so that no cast decides."""
    make_checkpoint(folder, seed=seed, tie=model["head"] != "untied", rows=model["rows"], dtype="bfloat16")
    tensors = read_weights(folder)
    if model["head"] == "copied":
        tensors[HEAD] = tensors[INPUTS].copy()
    if model["head"] == "trained":
        tensors[HEAD] = tensors[INPUTS] + 1
    if model["buffers"]:
        tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = np.arange(4, dtype=np.float32)
    if model["bare"]:
        tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    (folder / "model.safetensors").unlink()
    write_weights(folder, tensors, dtype=dtype, shards=model["shards"])
    edit(folder / "config.json", dtype=dtype)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(base=models, tuned=models, target=models, scale=st.sampled_from([1.0, 0.5, 0.0]))
def test_the_result_is_that_of_the_loaded_models(base, tuned, target, scale):
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("base", "tuned", "target")]
        for seed, (folder, model) in enumerate(zip(folders, (base, tuned, target), strict=True)):
            write(folder, seed, model, "bfloat16" if folder.name == "tuned" else model["dtype"])
        transfer(folders, Path(place) / "out", scale=str(scale))
        made = assert_as_loaded(folders, Path(place) / "out", scale=scale)
        assert made.get_input_embeddings().weight.shape[0] == max(tuned["rows"], target["rows"])
        assert (
            torch.equal(made.lm_head.weight, made.model.embed_tokens.weight)
            == all(model["head"] in ("tied", "copied") for model in (base, tuned, target))
            or scale == 0
        )
