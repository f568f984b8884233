"""Tiny models of transformers' own classes, and the arithmetic on models as transformers loads them."""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from pipelines.cli.transfer import transfer_references
from tests.support.tinymodels import SPECIAL, WORDS, write_tokenizer

ROWS = len(SPECIAL) + len(WORDS)
IDS = torch.tensor([[1, 9, 30, 40, 12]])


def build(model_type, *, seed=1, **values):
    """A model with random weights, of the class that transformers has for a type."""
    torch.manual_seed(seed)
    common = {
        "vocab_size": ROWS,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 4,
        "pad_token_id": 0,
    }
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **(common | values))).to(torch.bfloat16)


def moved(model, seed, size):
    """A copy, every parameter of which is a little elsewhere."""
    noise, other = torch.Generator().manual_seed(seed), copy.deepcopy(model).float()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += size * torch.randn(parameter.shape, generator=noise)
    return other.to(torch.bfloat16)


def save(model, folder, vocab=WORDS, **settings):
    """Save a model with a tokenizer beside it."""
    model.save_pretrained(folder, **settings)
    write_tokenizer(folder, vocab=vocab)
    return folder


def three(folder, base, tuned=None, target=None):
    """Save a base, its fine-tune and a newer base."""
    made = base, tuned or moved(base, 2, 2e-3), target or moved(base, 3, 4e-3)
    return [save(model, folder / name) for name, model in zip(("base", "tuned", "target"), made, strict=True)]


def weights(folder):
    """Every tensor as it is stored."""
    return {
        name: value for path in sorted(Path(folder).glob("*.safetensors")) for name, value in load_file(path).items()
    }


def store(folder, tensors):
    """Put other tensors in the place of the stored ones."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")


def edit(path, **values):
    """Change a JSON file; a value of `...` takes the key out."""
    document = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))


class Told:
    """What a transfer said."""

    def __init__(self):
        self.warnings, self.notes = [], []


def transfer(folders, output, scale="1"):
    """Run a transfer and return what it said."""
    told = Told()
    base, tuned, target = map(str, folders)
    transfer_references(
        source_base=base,
        source_tuned=tuned,
        target_base=target,
        output=output,
        scale=scale,
        dtype="auto",
        memory=64_000_000,
        verified=None,
        warn=told.warnings.append,
        note=told.notes.append,
    )
    return told


def load(folder):
    """A model as transformers loads it, in bfloat16."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


def expected(base, tuned, target, scale=1.0):
    """The arithmetic on three loaded models' parameters; rows that not all three have are one model's own."""
    states = [dict(model.state_dict()) for model in (base, tuned, target)]
    return {name: _one(*(state[name] for state in states), scale) for name in states[2]}


def _one(base, tuned, target, scale):
    if base.shape == tuned.shape == target.shape:
        return (target.double() + scale * (tuned.double() - base.double())).to(torch.bfloat16)
    common = min(len(base), len(tuned), len(target))
    computed = target[:common].double() + scale * (tuned[:common].double() - base[:common].double())
    return torch.cat([computed.to(torch.bfloat16), tuned[common:], target[max(common, len(tuned)) :]])


def assert_as_loaded(folders, result, scale=1.0):
    """The result loads, has the reference's parameters, and computes their logits."""
    base, tuned, target, made = map(load, (*folders, result))
    wanted, found = expected(base, tuned, target, scale), dict(made.state_dict())
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    with torch.no_grad():
        logits = made(input_ids=IDS).logits
    assert torch.isfinite(logits).all()
    return made
