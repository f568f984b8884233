"""The result, byte for byte, against the reference arithmetic written plainly with PyTorch and safetensors."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.errors import BadParameter, Incompatible, OutputConflict
from pipelines.cli.transfer import transfer_references
from tests.support.tinymodels import WORDS, make_checkpoint

LM_HEAD = "lm_head.weight"
MEMORY = 16 << 20
TORCH = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}
CODES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "I64": torch.int64,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def load_in_order(folder):
    """The tensors of each file, in the file's order; safetensors refuses to view those at odd addresses."""
    files = {}
    for path in sorted(folder.glob("*.safetensors")):
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        entries = {name: entry for name, entry in json.loads(content[8:end]).items() if name != "__metadata__"}
        files[path.name] = {
            name: _tensor(content[end:], entry)
            for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"])
        }
    return files


def _tensor(data, entry):
    begin, end = entry["data_offsets"]
    dtype = CODES[entry["dtype"]]
    if begin == end:
        return torch.zeros(entry["shape"], dtype=dtype)
    return torch.frombuffer(bytearray(data[begin:end]), dtype=dtype).reshape(entry["shape"])


def write_model(folder, tensors, *, shards=1, tie=True):
    """A checkpoint without a tokenizer, its tensors stored in the order given and with nothing that aligns them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": tie}
    (folder / "config.json").write_text(json.dumps(config))
    items = list(tensors.items())
    if shards == 1:
        _write_file(folder / "model.safetensors", items)
        return folder
    weight_map = {}
    for number in range(shards):
        chosen = items[number * len(items) // shards : (number + 1) * len(items) // shards]
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        _write_file(folder / file, chosen)
        weight_map |= {name: file for name, _ in chosen}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def _write_file(path, items):
    names = {dtype: code for code, dtype in CODES.items()}
    header, data = {}, bytearray()
    for name, tensor in items:
        begin = len(data)
        data += tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def reference(base, tuned, target, *, scale=1.0, via=torch.bfloat16):
    """method.md: every model loaded in one dtype, float64 arithmetic, one store; what does not change is kept.

    `scale` is a number, or a function of the tensor's name.
    """
    result = {}
    for name, tensor in target.items():
        factor = scale(name) if callable(scale) else scale
        if not tensor.is_floating_point():
            result[name] = tensor
            continue
        s, f, t = (x.to(via) if via else x for x in (base[name], tuned[name], tensor))
        common = min(len(x) for x in (s, f, t)) if s.dim() else None
        own = [] if s.dim() == 0 else [f[common:], t[max(common, len(f)) :]]
        s, f, t = (x[:common] if x.dim() else x for x in (s, f, t))
        t = t.clone()
        if factor != 0 and not bool(((s == f) | (s.isnan() & f.isnan())).all()):
            delta = f.double() - s.double()
            if factor != 1:
                delta *= factor
            t += delta
            t[t.isnan()] = float("nan")
        # Rows that a base does not have are the fine-tune's, rows that the fine-tune does not have the target's.
        result[name] = torch.cat([t, *own]) if own else t
    return result


def world(tmp_path, *, base=None, tuned=None, target=None, **common):
    folders = [tmp_path / name for name in ("base", "tuned", "target")]
    for seed, (folder, own) in enumerate(zip(folders, (base, tuned, target), strict=True)):
        make_checkpoint(folder, **{"seed": seed, **common, **(own or {})})
    return folders


def run(folders, output, *, scale="1.0", dtype="auto", memory=MEMORY, verified=False):
    base, tuned, target = map(str, folders)
    return transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=output,
        scale=scale,
        dtype=dtype,
        memory=memory,
        verified=verified,
    )


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(bits(found[name]), bits(tensor)), name


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


class TestScaleByName:
    """Rules in place of a number (see test_scale.py for how they are read)."""

    RULES = "*.mlp.*=0.8,*=1.0"

    @staticmethod
    def factor(name):
        return 0.8 if ".mlp." in name else 1.0

    @pytest.mark.parametrize("tie", [True, False])
    def test_each_tensor_has_its_own(self, tmp_path, tie):
        folders = world(tmp_path, tie=tie, shards=2)
        run(folders, tmp_path / "out", scale=self.RULES)
        found = load(tmp_path / "out")
        assert_equal(found, reference(*map(load, folders), scale=self.factor))
        with pytest.raises(AssertionError):
            assert_equal(found, reference(*map(load, folders)))

    def test_what_is_recorded_is_the_canonical_spelling(self, tmp_path):
        folders = world(tmp_path)
        spelled, _ = run(folders, tmp_path / "spelled", scale=self.RULES)
        sloppy, _ = run(folders, tmp_path / "sloppy", scale=" *.mlp.* = .80 , * = 1 ")
        assert spelled.derivation.settings == {"scale": "*.mlp.*=0.8,*=1.0", "dtype": "auto"}
        assert sloppy.derivation == spelled.derivation
        again, statistics = run(folders, tmp_path / "spelled", scale="*.mlp.*=8e-1,*=1.0")
        assert (again.digest, statistics) == (spelled.digest, None)
        number, _ = run(folders, tmp_path / "number", scale="*=0.5")
        assert number.derivation.settings["scale"] == "0.5"

    def test_another_scale_is_another_result(self, tmp_path):
        folders = world(tmp_path)
        run(folders, tmp_path / "out", scale=self.RULES)
        with pytest.raises(OutputConflict):
            run(folders, tmp_path / "out", scale="*.mlp.*=0.81,*=1.0")

    def test_scale_zero_by_name_keeps_those_tensors_exactly(self, tmp_path):
        folders = world(tmp_path)
        weights = load(folders[2])
        weights["model.norm.weight"][:3] = torch.tensor([-0.0, 0.0, -0.0], dtype=torch.bfloat16)
        save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
        run(folders, tmp_path / "out", scale="model.norm.*=0,*=1.5")
        found = load(tmp_path / "out")
        assert_equal(found, reference(*map(load, folders), scale=lambda name: 0 if "model.norm" in name else 1.5))
        assert torch.equal(bits(found["model.norm.weight"]), bits(weights["model.norm.weight"]))

    @pytest.mark.parametrize(
        ("rules", "told"),
        [
            ("*.mlp.*=0.8", r"no rule for the tensor model\.embed_tokens"),
            ("*.experts.*=0.8,*=1", r"rule for '\*\.experts\.\*'"),
            ("lm_head.weight=2,*=1", r"rule for 'lm_head\.weight'"),
        ],
    )
    def test_rules_that_do_not_fit_the_tensors(self, tmp_path, rules, told):
        with pytest.raises(BadParameter, match=told):
            run(world(tmp_path, tie=True), tmp_path / "out", scale=rules)
        assert not (tmp_path / "out").exists()

    def test_a_tied_head_that_is_stored_goes_with_the_embeddings(self, tmp_path):
        folders = world(tmp_path, tie=True)
        weights = load(folders[2])
        weights[LM_HEAD] = weights["model.embed_tokens.weight"].clone()
        save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
        run(folders, tmp_path / "out", scale="*.embed_tokens.*=0.25,*=1.0")
        found = load(tmp_path / "out")
        assert torch.equal(found[LM_HEAD], found["model.embed_tokens.weight"])
        found.pop(LM_HEAD)
        weights.pop(LM_HEAD)
        expected = reference(
            load(folders[0]), load(folders[1]), weights, scale=lambda name: 0.25 if "embed" in name else 1.0
        )
        assert_equal(found, expected)

    def test_an_untied_head_has_its_own(self, tmp_path):
        folders = world(tmp_path, tie=False)
        run(folders, tmp_path / "out", scale="lm_head.*=0.25,*=1.0")
        expected = reference(*map(load, folders), scale=lambda name: 0.25 if name == LM_HEAD else 1.0)
        assert_equal(load(tmp_path / "out"), expected)
