"""The result, byte for byte, against the reference arithmetic written plainly with PyTorch and safetensors."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.compatibility import LM_HEAD
from components.errors import Incompatible
from pipelines.transfer_command import transfer_references
from tinymodels import WORDS, make_checkpoint

MEMORY = 16 << 20
TORCH = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


def load(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def pad(tensor, rows):
    return torch.cat([tensor, torch.zeros(rows - tensor.shape[0], *tensor.shape[1:], dtype=tensor.dtype)])


def reference(base, tuned, target, *, scale=1.0, via=torch.bfloat16):
    """method.md: every model loaded in one dtype, float64 arithmetic, one store."""
    result = {}
    for name, tensor in target.items():
        s, f, t = (x.to(via) if via else x for x in (base[name], tuned[name], tensor))
        s, t = pad(s, f.shape[0]) if s.shape != f.shape else s, pad(t, f.shape[0]) if t.shape != f.shape else t.clone()
        delta = f.double() - s.double()
        if scale != 1:
            delta *= scale
        t += delta
        result[name] = t
    return result


def world(tmp_path, *, base=None, tuned=None, target=None, **common):
    folders = [tmp_path / name for name in ("base", "tuned", "target")]
    for seed, (folder, own) in enumerate(zip(folders, (base, tuned, target), strict=True)):
        make_checkpoint(folder, **{"seed": seed, **common, **(own or {})})
    return folders


def run(folders, output, *, scale="1.0", dtype="auto"):
    base, tuned, target = map(str, folders)
    return transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=output,
        scale=scale,
        dtype=dtype,
        memory=MEMORY,
        verified=False,
    )


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name].view(torch.uint8), tensor.contiguous().view(torch.uint8)), name


@pytest.mark.parametrize(
    ("architecture", "tie", "shards"), list(itertools.product(["llama", "olmo2"], [True, False], [1, 3]))
)
def test_bfloat16(tmp_path, architecture, tie, shards):
    folders = world(tmp_path, architecture=architecture, tie=tie, shards=shards)
    run(folders, tmp_path / "out")
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders)))
    names = {path.name for path in folders[2].glob("model*")}
    assert {path.name for path in (tmp_path / "out").glob("model*")} == names


@pytest.mark.parametrize("scale", [0.5, -1.0, 1.3])
def test_scale(tmp_path, scale):
    folders = world(tmp_path)
    run(folders, tmp_path / "out", scale=str(scale))
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders), scale=scale))


def test_float32_bases_are_cast_to_the_fine_tuned_dtype_first(tmp_path):
    folders = world(tmp_path, base={"dtype": "float32"}, target={"dtype": "float32"}, shards=2)
    run(folders, tmp_path / "out")
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders)))
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_named_dtype(tmp_path, dtype):
    folders = world(tmp_path, target={"dtype": "float32"})
    run(folders, tmp_path / "out", dtype=dtype)
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders), via=TORCH[dtype]))


def test_stored_casts_nothing_and_keeps_the_targets_dtype(tmp_path):
    folders = world(tmp_path, base={"dtype": "float32"}, target={"dtype": "float32"})
    run(folders, tmp_path / "out", dtype="stored")
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders), via=None))


@pytest.mark.parametrize("tie", [True, False])
def test_a_grown_vocabulary(tmp_path, tie):
    grown = {"vocab": [*WORDS, "extra1", "extra2", "extra3"]}
    folders = world(tmp_path, tuned=grown, tie=tie)
    run(folders, tmp_path / "out")
    found = load(tmp_path / "out")
    assert_equal(found, reference(*map(load, folders)))
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["vocab_size"] == found["model.embed_tokens.weight"].shape[0]
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (folders[1] / "tokenizer.json").read_bytes()


def test_other_shard_boundaries_and_tensor_order(tmp_path):
    folders = world(tmp_path, base={"shards": 3}, tuned={"shards": 1}, target={"shards": 2})
    run(folders, tmp_path / "out")
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders)))


def test_fine_tuned_equal_to_base_gives_the_target_exactly(tmp_path):
    folders = world(tmp_path)
    weights = load(folders[2])
    weights["model.norm.weight"][:3] = torch.tensor([-0.0, 0.0, -0.0], dtype=torch.bfloat16)
    save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
    run((folders[0], folders[0], folders[2]), tmp_path / "out")
    assert_equal(load(tmp_path / "out"), weights)


def test_scale_zero_gives_the_target_exactly(tmp_path):
    folders = world(tmp_path)
    weights = load(folders[2])
    weights["model.norm.weight"][:3] = torch.tensor([-0.0, 0.0, -0.0], dtype=torch.bfloat16)
    save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
    run(folders, tmp_path / "out", scale="0")
    assert_equal(load(tmp_path / "out"), weights)


def test_target_equal_to_base_gives_the_fine_tuned_model(tmp_path):
    folders = world(tmp_path, target={"seed": 0})
    with pytest.raises(Incompatible, match="target base is the source base"):
        run(folders, tmp_path / "out")
    (folders[2] / "LICENSE").write_text("another release of the same weights")
    run(folders, tmp_path / "out")
    assert_equal(load(tmp_path / "out"), load(folders[1]))


def test_a_tied_head_that_is_stored_too(tmp_path):
    folders = world(tmp_path, tie=True)
    weights = load(folders[2])
    weights[LM_HEAD] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
    run(folders, tmp_path / "out")
    found = load(tmp_path / "out")
    assert torch.equal(found[LM_HEAD], found["model.embed_tokens.weight"])
    found.pop(LM_HEAD)
    weights.pop(LM_HEAD)
    assert_equal(found, reference(load(folders[0]), load(folders[1]), weights))


def test_integers_scalars_and_empty_tensors(tmp_path):
    folders = world(tmp_path)
    for folder, scalar in zip(folders, (1.0, 3.0, 5.0), strict=True):
        weights = load(folder) | {
            "buffer.ids": torch.arange(5),
            "buffer.mask": torch.tensor([True, False]),
            "scalar": torch.tensor(scalar, dtype=torch.bfloat16),
            "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    run(folders, tmp_path / "out")
    found = load(tmp_path / "out")
    assert found["scalar"].item() == 7.0
    assert found["empty"].shape == (0, 4)
    assert torch.equal(found["buffer.ids"], torch.arange(5))


def test_changed_integers_are_refused(tmp_path):
    folders = world(tmp_path)
    for number, folder in enumerate(folders):
        weights = load(folder) | {"buffer.ids": torch.arange(5) + number}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Incompatible, match=r"buffer\.ids"):
        run(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tensors_larger_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("components.transfer.stream.CHUNK_ELEMENTS", 7)
    folders = world(tmp_path, tuned={"vocab": [*WORDS, "extra1"]}, shards=2)
    run(folders, tmp_path / "out")
    assert_equal(load(tmp_path / "out"), reference(*map(load, folders)))


def test_statistics_are_those_of_the_whole_tensors(tmp_path):
    folders = world(tmp_path)
    _, statistics = run(folders, tmp_path / "out")
    base, tuned, target = map(load, folders)
    for entry in statistics.tensors:
        s, f, t = (x[entry.name].double() for x in (base, tuned, target))
        assert entry.elements == s.numel()
        assert entry.delta_norm == pytest.approx((f - s).norm().item(), rel=1e-12)
        assert entry.gap_norm == pytest.approx((t - s).norm().item(), rel=1e-12)
        cosine = torch.nn.functional.cosine_similarity((f - s).flatten(), (t - s).flatten(), dim=0)
        assert entry.cosine == pytest.approx(cosine.item(), rel=1e-9)
        assert entry.max_abs_delta == (f - s).abs().max().item()
        assert entry.unchanged == (f == s).sum().item()


def test_the_result_is_the_same_twice_and_not_made_again(tmp_path):
    folders = world(tmp_path)
    first, _ = run(folders, tmp_path / "one")
    second, _ = run(folders, tmp_path / "two")
    again, statistics = run(folders, tmp_path / "one")
    assert first.digest == second.digest == again.digest
    assert statistics is None
