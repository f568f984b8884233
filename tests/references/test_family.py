"""Releases and published transfers by name, held against an independent table of what was published."""

from itertools import permutations

import pytest

from components.errors import BadParameter, BadReference
from components.evaluate.suite import load_suite
from components.finetune.recipe import load_recipe
from components.references.family import families, find_transfer, on_hub, release_at, release_of, releases, transfers
from components.references.open import open_source
from tests.support.fakehub import FakeHub
from tests.support.tinymodels import make_checkpoint

OLMO = "allenai/OLMo-2-1124-7B"
RELEASES = {
    "olmo2-7b:M1": f"{OLMO}@stage1-step300000-tokens1259B",
    "olmo2-7b:M2": f"{OLMO}@stage1-step600000-tokens2517B",
    "olmo2-7b:M3": f"{OLMO}@stage1-step928646-tokens3896B",
    "olmo2-7b:M4": f"{OLMO}@stage2-ingredient1-step6000-tokens26B",
    "olmo2-7b:M5": f"{OLMO}@stage2-ingredient1-step11931-tokens50B",
    "olmo2-7b:intermediate": f"{OLMO}@stage2-ingredient1-step7000-tokens30B",
    "olmo2-7b:base": f"{OLMO}@main",
    "olmo2-7b:sft": f"{OLMO}-SFT@main",
    "olmo2-7b:dpo": f"{OLMO}-DPO@main",
    "olmo2-7b:instruct": f"{OLMO}-Instruct@main",
    "llama3:3.0": "meta-llama/Meta-Llama-3-8B@main",
    "llama3:3.0-instruct": "meta-llama/Meta-Llama-3-8B-Instruct@main",
    "llama3:3.1": "meta-llama/Llama-3.1-8B@main",
    "llama3:3.1-instruct": "meta-llama/Llama-3.1-8B-Instruct@main",
    "tulu3:sft": "allenai/Llama-3.1-Tulu-3-8B-SFT@main",
    "tulu3:dpo": "allenai/Llama-3.1-Tulu-3-8B-DPO@main",
    "tulu3:3.0": "allenai/Llama-3.1-Tulu-3-8B@main",
    "tulu3:3.1": "allenai/Llama-3.1-Tulu-3.1-8B@main",
}
"""Hub reference by full name."""

TRANSFERS = {
    "llama3:3.1-to-3.0": (
        "meta-llama/Llama-3.1-8B@main",
        "meta-llama/Llama-3.1-8B-Instruct@main",
        "meta-llama/Meta-Llama-3-8B@main",
    ),
    "llama3:3.0-to-3.1": (
        "meta-llama/Meta-Llama-3-8B@main",
        "meta-llama/Meta-Llama-3-8B-Instruct@main",
        "meta-llama/Llama-3.1-8B@main",
    ),
    "tulu3:3.0-to-llama3.0": (
        "meta-llama/Llama-3.1-8B@main",
        "allenai/Llama-3.1-Tulu-3-8B@main",
        "meta-llama/Meta-Llama-3-8B@main",
    ),
    "tulu3:3.1-to-llama3.0": (
        "meta-llama/Llama-3.1-8B@main",
        "allenai/Llama-3.1-Tulu-3.1-8B@main",
        "meta-llama/Meta-Llama-3-8B@main",
    ),
    "olmo2-7b:instruct-to-intermediate": (
        f"{OLMO}@main",
        f"{OLMO}-Instruct@main",
        f"{OLMO}@stage2-ingredient1-step7000-tokens30B",
    ),
} | {
    f"olmo2-7b:{source}-to-{target}": (RELEASES[f"olmo2-7b:{source}"], "", RELEASES[f"olmo2-7b:{target}"])
    for source, target in permutations(("M1", "M2", "M3", "M4", "M5"), 2)
}
"""Hub references of source base, source fine-tuned (empty: not published) and target base, by full name."""

COMMIT = "0123456789" * 4


def place(reference):
    return on_hub(reference)[2] if reference else ""


def test_every_release_is_where_it_was_published():
    assert {name: place(name) for name in releases()} == RELEASES


def test_every_transfer_is_between_the_published_checkpoints():
    found = {
        name: (place(one.source_base), place(one.source_tuned), place(one.target_base))
        for name, one in transfers().items()
    }
    assert found == TRANSFERS


@pytest.mark.parametrize("name", TRANSFERS)
def test_a_transfer_starts_from_the_base_of_its_fine_tuned_model(name):
    transfer = find_transfer(name)
    if transfer.source_tuned:
        assert releases()[transfer.source_tuned].base == transfer.source_base
        assert transfer.recipe == ""
    else:
        assert transfer.recipe == "paper-math"
    assert releases()[transfer.source_base].base == releases()[transfer.target_base].base == ""
    expected = "llama-instruct" if name.startswith("llama3:") else "olmes-instruct"
    assert transfer.suite == expected


def test_names_are_plain_unique_and_those_of_their_files():
    assert set(families()) == {"olmo2-7b", "llama3", "tulu3"}
    for family in families().values():
        names = [one.name for one in family.releases] + [one.name for one in family.named_transfers()]
        assert len(set(names)) == len(names)
        assert all(one.base == "" or one.base in releases() for one in family.releases)


def test_an_unknown_transfer_is_told_with_the_closest_first():
    with pytest.raises(BadParameter) as caught:
        find_transfer("llama3.0-to-3.1")
    assert "'llama3.0-to-3.1'" in caught.value.problem
    assert caught.value.hint.startswith("use one of llama3:3.0-to-3.1, ")
    assert all(name in caught.value.hint for name in TRANSFERS)


@pytest.mark.parametrize(
    ("reference", "closest"),
    [
        ("olmo2-7b:M6", "olmo2-7b:M"),
        ("olmo2-7b:m3", "olmo2-7b:M3"),
        ("lama3:3.1", "llama3:3.1"),
        ("tulu3:stf", "tulu3:sft"),
    ],
)
def test_an_unknown_release_is_told_with_the_closest_first(reference, closest):
    with pytest.raises(BadReference, match="names no release") as caught:
        open_source(reference)
    assert caught.value.hint.startswith(f"use one of {closest}")


@pytest.mark.parametrize(
    "reference", ["s3://bucket/prefix", "models:/name@alias", "models:/name/1", "org/name@rev", "folder", "a:b:c", ""]
)
def test_other_schemes_are_not_taken_for_releases(reference):
    assert on_hub(reference) is None
    assert release_of(reference) == ""


def test_release_at_needs_repository_and_revision():
    assert release_at("meta-llama/Llama-3.1-8B", "main") == "llama3:3.1"
    assert release_at(OLMO, "stage1-step928646-tokens3896B") == "olmo2-7b:M3"
    assert release_at(OLMO, "stage1-step928000-tokens3893B") == ""
    assert release_at("someone/Llama-3.1-8B", "main") == ""


class TestOnTheHub:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        with FakeHub() as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            revision = RELEASES["olmo2-7b:M3"].partition("@")[2]
            hub.commit = hub.add(OLMO, make_checkpoint(tmp_path / "m3", seed=3), branch=revision)
            hub.other = hub.add(OLMO, make_checkpoint(tmp_path / "main", seed=4))
            yield hub

    def test_a_release_is_pinned_and_knows_its_name(self, hub):
        source = open_source("olmo2-7b:M3")
        assert source.reference == f"olmo2-7b:M3@{hub.commit}"
        assert source.uri == f"hf://{OLMO}@{hub.commit}"
        assert source.origin["release"] == "olmo2-7b:M3"
        assert source.name == "OLMo-2-1124-7B@stage1-step928646-tokens3896B"

    def test_a_pinned_release_opens_again_the_same(self, hub):
        source = open_source("olmo2-7b:M3")
        assert open_source(source.reference) == source

    def test_a_pin_holds_after_the_branch_moved(self, hub, tmp_path):
        pinned = open_source("olmo2-7b:M3").reference
        revision = RELEASES["olmo2-7b:M3"].partition("@")[2]
        moved = hub.add(OLMO, make_checkpoint(tmp_path / "moved", seed=5), branch=revision)
        assert open_source(pinned).commit == hub.commit
        assert open_source("olmo2-7b:M3").commit == moved

    def test_the_hubs_own_spelling_is_the_same_release(self, hub):
        assert open_source(RELEASES["olmo2-7b:M3"]) == open_source("olmo2-7b:M3")
        assert open_source(OLMO).origin["release"] == "olmo2-7b:base"

    def test_a_bare_commit_is_no_release(self, hub):
        source = open_source(f"{OLMO}@{hub.commit}")
        assert source.reference == f"{OLMO}@{hub.commit}"
        assert "release" not in source.origin

    def test_both_spellings_are_saved_once(self, hub):
        from components.references.save import save_checkpoint
        from components.store.store import open_store

        first = save_checkpoint("olmo2-7b:M3", open_store())
        before = len(hub.requests("model.safetensors", storage=True))
        again = save_checkpoint(f"{OLMO}@{hub.commit}", open_store())
        assert again.digest == first.digest
        assert first.origin["release"] == "olmo2-7b:M3"
        # Headers are read again, the weights are not.
        assert not [
            seen
            for seen in hub.requests("model.safetensors", storage=True)[before:]
            if seen.headers["range"].startswith("bytes=0-") and int(seen.headers["range"].partition("-")[2]) > 100_000
        ]

    def test_a_folder_of_the_same_spelling_wins(self, hub, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        make_checkpoint(tmp_path / "olmo2-7b:M3", seed=6)
        assert open_source("olmo2-7b:M3").origin["kind"] == "folder"


def test_a_commit_is_whole_or_refused():
    assert place(f"olmo2-7b:M3@{COMMIT}") == f"{OLMO}@{COMMIT}"
    assert on_hub(f"olmo2-7b:M3@{COMMIT[:8]}") is None


@pytest.mark.parametrize("name", sorted(transfers()))
def test_what_a_transfer_is_judged_and_trained_by_ships(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(tmp_path))  # which are Meta's to give
    transfer = find_transfer(name)
    suite = load_suite(transfer.suite)
    assert {task.benchmark for task in suite.tasks} == {"ARC-C", "GPQA", "GSM8K", "IFEval", "MATH", "MMLU"}
    if transfer.recipe:
        load_recipe(transfer.recipe)
