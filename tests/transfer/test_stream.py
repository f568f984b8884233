"""How a transfer uses the machine, and how the inputs lie on disk, change no byte and no statistic of the result."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
import torch

from components.checkpoints.manifest import MANIFEST
from components.errors import BadParameter, Incompatible
from components.system.direct_io import PAGE
from components.transfer import stream
from components.transfer.kernel import UNIT
from components.transfer.shards import ROLES
from components.transfer.spans import SMALLEST_SPAN
from tests.transfer.test_against_reference import MEMORY, assert_equal, bits, load_in_order, reference, run, write_model

LEAST_MEMORY = 4 * (SMALLEST_SPAN + PAGE)
ONE_UNIT = 2 * UNIT
"""Bytes of a span that holds one unit of 16-bit values."""
EXPERT = "model.layers.0.mlp.experts.3.down_proj.weight"
PAYLOAD = torch.tensor([0x7FC5, -0x33, 0x7F81], dtype=torch.int16).view(torch.bfloat16)
"""NaNs that arithmetic would not leave as they are."""


def normal(count, seed, dtype=torch.bfloat16):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)).to(dtype)


def awkward(seed):
    """One model of three: odd sizes first, so that what follows lies at odd addresses."""
    part = normal(3 * UNIT, 100)
    changed_late = torch.cat([part, normal(UNIT + 7, seed)])
    kept = normal(2 * UNIT + 5, 100)
    if seed == 2:
        changed_late, kept = normal(4 * UNIT + 7, 3), normal(2 * UNIT + 5, 4)
        for tensor in (changed_late, kept):
            tensor[[0, 5, UNIT + 1]] = -0.0
            tensor[UNIT + 5 : UNIT + 8] = PAYLOAD
    nonfinite = normal(UNIT + 40, seed)
    nonfinite[seed * 7] = float("nan")
    nonfinite[UNIT + seed] = float("inf")
    return {
        "a.mask": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "a.flag": torch.tensor(True),
        EXPERT: normal(3 * UNIT + 17, seed).reshape(-1, 1),
        "changed_late": changed_late,
        "kept": kept,
        "b.mask": torch.tensor([7], dtype=torch.uint8),
        "nonfinite": nonfinite,
        "wide": normal(2 * UNIT + 9, seed, torch.bfloat16 if seed == 1 else torch.float32),
        "scalar": torch.tensor(float(seed), dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
        "ids": torch.arange(40_000),
    }


@pytest.fixture(scope="module")
def models():
    return [awkward(seed) for seed in range(3)]


def write(folder, models, *, shards=(1, 1, 1)):
    names = ("base", "tuned", "target")
    return [
        write_model(folder / name, model, shards=count)
        for name, model, count in zip(names, models, shards, strict=True)
    ]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def in_order(folder):
    return {name: tensor for file in load_in_order(folder).values() for name, tensor in file.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory, models):
    """The awkward models, and the result and statistics of the first transfer, which is right."""
    root = tmp_path_factory.mktemp("awkward")
    folders = write(root, models, shards=(1, 3, 2))
    _, statistics = run(folders, root / "out")
    assert_equal(in_order(root / "out"), reference(*models))
    return folders, root / "out", statistics


@pytest.mark.parametrize("span", [SMALLEST_SPAN, SMALLEST_SPAN + 4094, 7 * ONE_UNIT + 2, 64 << 20])
@pytest.mark.parametrize("threads_per_core", [1, 7])
def test_spans_and_threads(written, tmp_path, monkeypatch, span, threads_per_core):
    monkeypatch.setattr(stream, "LARGEST_SPAN", span)
    monkeypatch.setattr(stream, "THREADS_PER_CORE", threads_per_core)
    folders, expected, statistics = written
    _, found = run(folders, tmp_path / "out")
    assert content(tmp_path / "out") == content(expected)
    assert found == statistics


def test_one_thread(written, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "usable_cores", lambda: 1)
    monkeypatch.setattr(stream, "THREADS_PER_CORE", 1)
    folders, expected, statistics = written
    _, found = run(folders, tmp_path / "out")
    assert content(tmp_path / "out") == content(expected)
    assert found == statistics


@pytest.mark.parametrize("memory", [LEAST_MEMORY, LEAST_MEMORY + 1, 3 * LEAST_MEMORY - 1, 1 << 30])
def test_memory(written, tmp_path, memory):
    folders, expected, statistics = written
    _, found = run(folders, tmp_path / "out", memory=memory)
    assert content(tmp_path / "out") == content(expected)
    assert found == statistics


@pytest.mark.parametrize("memory", [0, 1, LEAST_MEMORY - 1])
def test_too_little_memory(written, tmp_path, memory):
    folders, _, _ = written
    with pytest.raises(BadParameter, match="least it can work in"):
        run(folders, tmp_path / "out", memory=memory)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("memory", [LEAST_MEMORY, 3 * LEAST_MEMORY, 512 << 20, 1 << 40])
@pytest.mark.parametrize("cores", [1, 2, 64])
def test_buffers_fit_into_the_memory(monkeypatch, memory, cores):
    monkeypatch.setattr(stream, "usable_cores", lambda: cores)
    shape = stream.PipelineSizes.fitting(memory)
    assert shape.threads >= 1
    assert shape.span_bytes >= SMALLEST_SPAN
    assert shape.threads * (4 * shape.span_bytes + PAGE) <= memory


def test_a_tensor_several_times_larger_than_the_memory(tmp_path):
    models = [{"big": normal(1_200_000, seed).reshape(1200, 1000)} for seed in range(3)]
    folders = write(tmp_path, models)
    assert models[0]["big"].numel() * 2 > 4 * LEAST_MEMORY
    _, statistics = run(folders, tmp_path / "least", memory=LEAST_MEMORY)
    assert_equal(in_order(tmp_path / "least"), reference(*models))
    _, with_more = run(folders, tmp_path / "more", memory=1 << 30)
    assert content(tmp_path / "least") == content(tmp_path / "more")
    assert statistics == with_more


def test_two_hundred_shards(tmp_path):
    models = [{f"layer.{n:03}": normal(100 + n, 1000 * seed + n) for n in range(210)} for seed in range(3)]
    folders = write(tmp_path, models, shards=(1, 7, 200))
    run(folders, tmp_path / "out")
    found = load_in_order(tmp_path / "out")
    assert list(found) == [f"model-{n + 1:05d}-of-00200.safetensors" for n in range(200)]
    assert_equal(in_order(tmp_path / "out"), reference(*models))


@pytest.mark.parametrize("shards", [(1, 1, 4), (4, 4, 1), (11, 1, 3), (2, 3, 2)])
def test_other_shard_boundaries_and_another_order(written, models, tmp_path, monkeypatch, shards):
    """The result's files and their order are the target's; how the others lie shows nowhere."""
    monkeypatch.setattr(stream, "LARGEST_SPAN", SMALLEST_SPAN)
    base, tuned, target = models
    backwards = dict(reversed(base.items()))
    sideways = dict(sorted(tuned.items(), key=lambda item: item[0][::-1]))
    folders = write(tmp_path, (backwards, sideways, target), shards=shards)
    _, statistics = run(folders, tmp_path / "out")
    assert statistics == written[2]
    stored = load_in_order(folders[2])
    found = load_in_order(tmp_path / "out")
    assert {file: list(tensors) for file, tensors in found.items()} == {
        file: list(tensors) for file, tensors in stored.items()
    }
    assert_equal(in_order(tmp_path / "out"), reference(*models))


def test_inputs_are_only_read(written, models, tmp_path):
    folders = write(tmp_path, models)
    for folder in folders:
        for path in folder.iterdir():
            path.chmod(stat.S_IRUSR)
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = [_state(folder) for folder in folders]
    _, statistics = run(folders, tmp_path / "out", verified=True)
    assert [_state(folder) for folder in folders] == before
    assert statistics == written[2]
    for folder in folders:
        folder.chmod(stat.S_IRWXU)


def _state(folder):
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return folder.stat().st_mtime_ns, {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


@pytest.mark.parametrize("span", [ONE_UNIT, 3 * ONE_UNIT])
def test_rows_that_a_vocabulary_grew_by_are_the_fine_tunes_own(tmp_path, monkeypatch, span):
    """Whatever else the buffers held before, and although some spans have nothing of the bases."""
    monkeypatch.setattr(stream, "LARGEST_SPAN", span)
    monkeypatch.setattr(stream, "usable_cores", lambda: 1)
    monkeypatch.setattr(stream, "THREADS_PER_CORE", 1)
    embeddings = "model.embed_tokens.weight"
    rows = UNIT // 8 + 3, 4 * UNIT // 8 + 5, UNIT // 8 + 7
    models = [
        {
            "before": normal(4 * UNIT, seed),
            embeddings: normal(8 * count, seed + 10).reshape(-1, 8),
            "z": normal(9, seed),
        }
        for seed, count in enumerate(rows)
    ]
    run(write(tmp_path, models), tmp_path / "out")
    assert_equal(in_order(tmp_path / "out"), reference(*models))


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system than the inputs', one that may not know direct writes."""
    place = Path("/dev/shm")
    if not (place.is_dir() and os.access(place, os.W_OK)) or place.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system that can be written")
    folder = Path(tempfile.mkdtemp(dir=place))
    yield folder
    shutil.rmtree(folder)


def test_another_file_system(written, elsewhere):
    folders, expected, statistics = written
    _, found = run(folders, elsewhere / "out")
    assert content(elsewhere / "out") == content(expected)
    assert found == statistics


class TestWhatIsKept:
    def test_an_unchanged_tensor_stays_the_targets_bit_for_bit(self, written, models):
        kept = in_order(written[1])["kept"]
        assert torch.equal(bits(kept), bits(models[2]["kept"]))
        assert torch.equal(bits(kept[UNIT + 5 : UNIT + 8]), bits(PAYLOAD))
        assert torch.signbit(kept[0])

    @pytest.mark.parametrize("span", [ONE_UNIT, 2 * ONE_UNIT, 3 * ONE_UNIT, 4 << 20])
    @pytest.mark.parametrize("changed", [0, UNIT, 4 * UNIT])
    def test_a_tensor_that_changes_anywhere_is_added_to_everywhere(self, tmp_path, monkeypatch, span, changed):
        """Known only after the parts that do not change were written."""
        monkeypatch.setattr(stream, "LARGEST_SPAN", span)
        base = normal(5 * UNIT, 100)
        target = normal(5 * UNIT, 7)
        target[UNIT // 2 :: UNIT] = -0.0
        target[5 : 5 + 3] = PAYLOAD
        tuned = base.clone()
        tuned[changed] += 1
        models = [{"before": x[: UNIT + 3], "it": x, "beside": y} for x, y in ((base, base), (tuned, base))]
        models.append({"before": target[: UNIT + 3], "it": target, "beside": target})
        folders = write(tmp_path, models)
        checkpoint, statistics = run(folders, tmp_path / "out")
        found = in_order(tmp_path / "out")
        assert_equal(found, reference(*models))
        assert not torch.signbit(found["it"][UNIT // 2 :: UNIT]).any()
        assert torch.signbit(found["beside"][UNIT // 2 :: UNIT]).all()
        assert [entry.unchanged for entry in statistics.tensors][1:] == [5 * UNIT - 1, 5 * UNIT]
        assert checkpoint.derivation.parents.keys() == set(ROLES)

    @pytest.mark.parametrize("scale", ["0", "-0.0", "*_late=0,*=0.0"])
    def test_scale_zero_gives_the_target_bit_for_bit(self, written, models, tmp_path, scale):
        run(written[0], tmp_path / "out", scale=scale)
        assert_equal(in_order(tmp_path / "out"), reference(*models, scale=0))
        assert torch.equal(bits(in_order(tmp_path / "out")["changed_late"]), bits(models[2]["changed_late"]))


@pytest.mark.parametrize("role", range(3))
def test_a_tensor_in_only_one_model_is_refused_by_name(models, tmp_path, role):
    more = [model | ({"extra.weight": normal(3, 0)} if index == role else {}) for index, model in enumerate(models)]
    folders = write(tmp_path, more)
    with pytest.raises(Incompatible, match=rf"tensor extra\.weight is only in: {ROLES[role]}"):
        run(folders, tmp_path / "out", memory=MEMORY)
    assert not (tmp_path / "out").exists()


def test_integers_that_the_fine_tune_changed_are_refused_in_any_span(models, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "LARGEST_SPAN", SMALLEST_SPAN)
    base, tuned, target = models
    ids = tuned["ids"].clone()
    ids[-1] += 1
    folders = write(tmp_path, (base, tuned | {"ids": ids}, target))
    with pytest.raises(Incompatible, match=r"tensor ids holds integers \(I64\)"):
        run(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_integers_alone(tmp_path):
    """Which has no dtype of floats to write into the config."""
    folders = write(tmp_path, [{"ids": torch.arange(100)}] * 3)
    write_model(folders[2], {"ids": torch.arange(100) + 1})
    run(folders, tmp_path / "out")
    assert torch.equal(in_order(tmp_path / "out")["ids"], torch.arange(100) + 1)
