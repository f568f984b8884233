"""Equal inputs give the digests and keys that they gave before: what stores hold is found again, bit for bit.

`python tests/test_same_digests.py` writes what this version gives over the record. That is right only where a change of
the result's bytes is wanted and told to users.
"""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from components import settings
from components.checkpoints import digest_of, read_layout
from components.evaluate import load_suite
from components.finetune import load_recipe
from components.references import save_checkpoint
from components.sources import FolderSource
from components.store import open_store
from components.transfer import ROLES, Transfer, TransferInput, parse_scale, transfer_in_store, transfer_to_folder
from tests.support.tinymodels import WORDS, make_checkpoint

RECORD = Path(__file__).parent / "fixtures" / "digests.json"
SUITES = ("demo", "olmes-base", "olmes-base-quick", "olmes-instruct", "olmes-instruct-quick")
RECIPES = ("demo", "paper-math", "tiny-open-instruct", "tulu3-sft")
RULES = "*.mlp.*=0.8,*.self_attn.*=0,*=1.25"

CASES = {
    "llama": ({}, {"tie": False}, [("1", "auto"), ("0.5", "auto"), ("0", "auto"), (RULES, "auto"), ("1", "float32")]),
    "tied": ({}, {"tie": True}, [("1", "auto"), ("1.3", "stored")]),
    "olmo2 in three shards": (
        {},
        {"architecture": "olmo2", "tie": False, "shards": 3},
        [("1", "auto"), (RULES, "auto")],
    ),
    "float32 bases": (
        {"source tuned": {"dtype": "bfloat16"}},
        {"tie": False, "dtype": "float32", "shards": 2},
        [("1", "auto"), ("1", "stored"), ("0.5", "float16"), ("1", "bfloat16")],
    ),
    "grown vocabulary": ({"source tuned": {"vocab": (*WORDS, "<|call|>", "<|eom|>")}}, {"tie": False}, [("1", "auto")]),
    "grown and tied": ({"source tuned": {"rows": 128}}, {"tie": True}, [("1", "auto")]),
    "shards differ": ({"source tuned": {"shards": 2}, "target base": {"shards": 3}}, {"tie": False}, [("1", "auto")]),
    "template of the fine-tune": (
        {"source base": {"chat_template": None}, "target base": {"chat_template": None}},
        {"tie": True},
        [("1", "auto")],
    ),
}
"""By name: what differs by model, what holds for all three, and the transfers' scales and dtype policies."""


def made(folder, case):
    differing, common, _ = CASES[case]
    names = dict(zip(("source base", "source tuned", "target base"), ROLES, strict=True))
    for seed, name in enumerate(names, start=1):
        make_checkpoint(folder / name, seed=seed, **(common | differing.get(name, {})))
    return {role: folder / name for name, role in names.items()}


def facts(checkpoint):
    found = {
        "digest": checkpoint.digest,
        "tensors": checkpoint.tensors_fingerprint,
        "tokenizer": checkpoint.tokenizer_fingerprint,
    }
    if checkpoint.derivation:
        # The version is in the key, and says nothing of whether the rest of it is the same.
        found["key"] = checkpoint.derivation.model_copy(update={"software": "recycle"}).key
    return found


def digest(document):
    return hashlib.sha256(document.model_dump_json().encode()).hexdigest()


def given_by(folder, case):
    """What this version makes of a case, in a store and in folders."""
    folders, store = made(folder, case), open_store()
    saved = {role: save_checkpoint(str(path), store) for role, path in folders.items()}
    given = {"saved": {role: facts(checkpoint) for role, checkpoint in saved.items()}}
    for scale, dtype in CASES[case][2]:
        stored, statistics = transfer_in_store(saved, scale=parse_scale(scale), dtype=dtype, store=store)
        parents = {
            role: TransferInput(layout=read_layout(FolderSource(path=path)), manifest=None)
            for role, path in folders.items()
        }
        job = Transfer(parents=parents, scale=parse_scale(scale), dtype=dtype, memory=settings.memory(), verified=None)
        written, _ = transfer_to_folder(job, folder / f"{case} {scale} {dtype}".replace("*", "all"))
        given[f"{scale} {dtype}"] = {
            "in the store": facts(stored),
            "in a folder": facts(written),
            "statistics": digest(statistics),
        }
    return given


def keys():
    """What the keys of evaluations and fine-tunes are made of, beside the model's digest and the programs' versions."""
    return {
        "suites": {name: load_suite(name).digest for name in SUITES},
        "recipes": {name: digest_of(load_recipe(name).decisive) for name in RECIPES},
    }


@pytest.mark.parametrize("case", CASES)
def test_a_transfer_gives_the_digests_that_it_gave_before(tmp_path, case):
    assert given_by(tmp_path, case) == json.loads(RECORD.read_text())["transfers"][case]


def test_suites_and_recipes_have_the_keys_that_they_had_before():
    assert keys() == json.loads(RECORD.read_text())["keys"]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    record = {"transfers": {case: given_by(folder / case.replace(" ", "-"), case) for case in CASES}, "keys": keys()}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
