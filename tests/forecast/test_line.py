"""The loss along the line between tiny models whose connection is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from components.checkpoints.description import identify
from components.checkpoints.layout import read_layout
from components.errors import StorageFull
from components.forecast import line
from components.forecast.line import measure_line
from components.forecast.measure import forecast_in_store
from components.forecast.not_measured import NotMeasured
from components.sources.folder import FolderSource
from components.store.store import open_store
from components.transfer.statistics import Statistics, TensorStatistics
from tests.support.tinymodels import make_checkpoint, read_weights, write_weights

RULE = 7
"""The made-up language: each word is followed by the one this many places on."""


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other are most of the time on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(folder, *, rule, steps, seed):
    """Teach the checkpoint in `folder` which word follows which."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = model.config.vocab_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        first = torch.randint(rows, (16, 1))
        ids = (first + rule * torch.arange(12)) % rows
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    names = read_weights(folder)
    state = model.state_dict()
    write_weights(folder, {name: state[name].detach().numpy() for name in names}, dtype="float32")
    return folder


def copy_of(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases") / "release-1"
    return train(make_checkpoint(folder, dtype="float32", std=0.02, layers=1), rule=RULE, steps=120, seed=0)


def permuted(base, folder):
    """The same function with the hidden units of each MLP in another order."""
    weights = read_weights(copy_of(base, folder))
    order = np.random.default_rng(0).permutation(weights["model.layers.0.mlp.up_proj.weight"].shape[0])
    for name in weights:
        if "gate_proj" in name or "up_proj" in name:
            weights[name] = weights[name][order]
        if "down_proj" in name:
            weights[name] = weights[name][:, order]
    return write(folder, weights)


def turned(base, folder):
    """The same function in another basis of the hidden state: as far from the base as an unrelated model."""
    weights = read_weights(copy_of(base, folder))
    size = weights["model.embed_tokens.weight"].shape[1]
    order = np.random.default_rng(0).permutation(size)
    for name, value in weights.items():
        if value.ndim == 1 or "embed" in name:
            weights[name] = value[..., order]
        elif "o_proj" in name or "down_proj" in name:
            weights[name] = value[order]
        else:
            weights[name] = value[:, order]
    return write(folder, weights)


def write(folder, weights):
    write_weights(folder, weights, dtype="float32")
    return folder


def test_identical_bases_have_no_barrier_and_the_same_loss_everywhere(base):
    found = measure_line(base, base)
    assert len(set(found.losses)) == 1
    assert found.barrier == 0
    assert found.connectivity == 1
    assert found.tokens == line.SEQUENCES * (line.TOKENS - 1)


def test_a_base_that_was_trained_further_is_connected(base, tmp_path):
    further = train(copy_of(base, tmp_path / "release-2"), rule=RULE, steps=20, seed=1)
    assert not np.array_equal(*(read_weights(folder)["model.norm.weight"] for folder in (base, further)))
    assert measure_line(base, further).connectivity > 0.95


def test_equal_functions_in_another_basis_are_not_connected(base, tmp_path):
    there, back = turned(base, tmp_path / "turned"), base
    found, other_way = measure_line(there, back), measure_line(back, there)
    assert found.losses[0] == pytest.approx(found.losses[-1], abs=1e-3), "the two are the same function"
    assert found.barrier > 0.5
    assert found.connectivity < 0.85
    assert other_way.barrier == pytest.approx(found.barrier, rel=0.3)


def test_permuted_hidden_units_make_a_barrier(base, tmp_path):
    found = measure_line(base, permuted(base, tmp_path / "permuted"))
    assert found.losses[0] == pytest.approx(found.losses[-1], abs=1e-3)
    assert found.barrier > 0.01


def test_the_same_bases_give_the_same_figures(base, tmp_path):
    other = turned(base, tmp_path / "turned")
    assert measure_line(base, other) == measure_line(base, other)


class TestNotMeasured:
    def test_nan_weights(self, base, tmp_path):
        weights = read_weights(copy_of(base, tmp_path / "nan"))
        weights["model.norm.weight"] = weights["model.norm.weight"] * np.nan
        with pytest.raises(NotMeasured, match="no finite probabilities"):
            measure_line(base, write(tmp_path / "nan", weights))

    def test_a_vocabulary_that_grew(self, base, tmp_path):
        grown = make_checkpoint(tmp_path / "grown", dtype="float32", layers=1, rows=80)
        with pytest.raises(NotMeasured, match=r"embed_tokens\.weight is \[60, 32\] .* and \[80, 32\]|\[\d+, 32\]"):
            measure_line(base, grown)

    def test_another_set_of_tensors(self, base, tmp_path):
        with pytest.raises(NotMeasured, match="only one of the bases has the tensor"):
            measure_line(base, make_checkpoint(tmp_path / "deep", dtype="float32", layers=2))

    @pytest.mark.parametrize("config", [{"model_type": "never-heard-of"}, {"auto_map": {}, "model_type": ""}])
    def test_a_model_that_transformers_does_not_know(self, base, tmp_path, config):
        strange = copy_of(base, tmp_path / "strange")
        known = json.loads((strange / "config.json").read_text())
        (strange / "config.json").write_text(json.dumps(known | {"architectures": ["New"]} | config))
        with pytest.raises(NotMeasured, match="transformers could not load the base"):
            measure_line(strange, strange)

    def test_a_machine_that_is_too_small(self, base, monkeypatch):
        monkeypatch.setattr(line, "usable_memory", lambda: 1000)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(NotMeasured, match=r"the model needs .* of memory, and the cpu has 1\.0 kB"):
            measure_line(base, base)

    def test_tensors_that_transformers_names_otherwise(self, base, monkeypatch):
        found = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        found.register_buffer("surprise", torch.zeros(3))
        monkeypatch.setattr(line, "_load", lambda folder, place: found)
        with pytest.raises(NotMeasured, match="a tensor surprise that the checkpoints do not have"):
            measure_line(base, base)


@pytest.fixture
def saved(base, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_HOME", str(tmp_path / "home"))
    further = train(copy_of(base, tmp_path / "release-2"), rule=RULE, steps=5, seed=1)
    described = [identify(read_layout(FolderSource(path=Path(folder)))) for folder in (base, further)]
    tensor = TensorStatistics(
        name="w",
        elements=10,
        delta_squared=1.0,
        gap_squared=1.0,
        source_squared=100.0,
        delta_dot_gap=0.0,
        max_abs_delta=0.1,
        unchanged=0,
        nonfinite=0,
    )
    return (*described, Statistics(tensors=(tensor,)), open_store())


def test_a_line_is_measured_once(saved, monkeypatch):
    first = forecast_in_store(*saved)
    assert (first.verdict, first.measure) == ("likely", "connectivity")
    monkeypatch.setattr(line, "measure_line", lambda source, target: pytest.fail("measured again"))
    assert forecast_in_store(*saved) == first


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotMeasured("the moon is full"), "the moon is full"),
        (StorageFull("no room at /x", hint="free some"), "no room at /x"),
    ],
)
def test_what_cannot_be_measured_is_told_and_tried_again_next_time(saved, monkeypatch, error, told):
    def refuse(source, target):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(line, "measure_line", refuse)
        found = forecast_in_store(*saved)
    assert found.measure == "closeness"
    assert found.verdict == "likely"
    assert f"was not measured: {told}" in found.reason
    assert forecast_in_store(*saved).measure == "connectivity"
