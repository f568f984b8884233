from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.demo import releases, training
from components.demo import tokenizer as demo_tokenizer
from components.errors import BadParameter, OutputConflict


def quiet(line: str) -> None:
    pass


def build_all(folder: Path, architecture: releases.Architecture = "olmo2") -> dict[str, Path]:
    return {
        name: releases.build(name, folder, progress=quiet, architecture=architecture, most_steps=2)
        for name in releases.RELEASES
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_all(tmp_path_factory.mktemp("releases"))


def weights(release: Path) -> dict[str, torch.Tensor]:
    return load_file(release / "model.safetensors")


def contents(release: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in release.iterdir()}


def test_a_second_build_makes_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)  # What the process does otherwise must not matter.
    torch.manual_seed(99)
    again = build_all(tmp_path)
    for name in releases.RELEASES:
        assert contents(again[name]) == contents(built[name])
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)


def test_releases_differ_in_values_and_in_nothing_else(built: dict[str, Path]) -> None:
    shapes = {name: {key: (t.shape, t.dtype) for key, t in weights(path).items()} for name, path in built.items()}
    assert all(shape == shapes["release-1"] for shape in shapes.values())
    assert {dtype for _, dtype in shapes["release-1"].values()} == {torch.bfloat16}
    assert len({(path / "model.safetensors").read_bytes() for path in built.values()}) == len(built)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert len({(path / file).read_bytes() for path in built.values()}) == 1


def test_release_2_grows_from_release_1_and_the_other_seed_does_not(built: dict[str, Path]) -> None:
    def distance(name: str) -> float:
        first, other = weights(built["release-1"]), weights(built[name])
        return float(sum((other[key].double() - first[key].double()).square().sum() for key in first)) ** 0.5

    assert distance("release-2") < 0.2 * distance("other-seed")


@pytest.mark.parametrize("architecture", releases.ARCHITECTURES)
def test_release_is_an_ordinary_checkpoint(architecture: releases.Architecture, tmp_path: Path) -> None:
    release = releases.build("release-1", tmp_path, progress=quiet, architecture=architecture, most_steps=1)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(release), AutoTokenizer.from_pretrained(release)
    assert model.config.model_type == architecture
    assert model.dtype == torch.bfloat16
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == model.config.vocab_size
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert {oct(file.stat().st_mode & 0o777) for file in release.iterdir()} == {oct(release.stat().st_mode & 0o666)}


def test_building_makes_the_parent_and_keeps_what_is_there(tmp_path: Path) -> None:
    lines: list[str] = []
    releases.build("release-2", tmp_path, progress=lines.append, most_steps=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release-1", "release-2"]
    assert [line.split(",")[0] for line in lines] == ["release-1", "release-2"]
    releases.build("release-2", tmp_path, progress=pytest.fail, most_steps=1)


def test_an_interrupted_build_leaves_nothing_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_tokenizer, "save", interrupt)  # The weights are written by then, the tokenizer is not.
        with pytest.raises(KeyboardInterrupt):
            releases.build("release-1", tmp_path, progress=quiet, most_steps=1)
    assert list(tmp_path.iterdir()) == []
    assert releases.build("release-1", tmp_path, progress=quiet, most_steps=1).is_dir()


def test_a_faster_process_that_built_the_same_release_wins(tmp_path: Path) -> None:
    def race(line: str) -> None:
        if not (tmp_path / "release-1").exists():
            releases.build("release-1", tmp_path, progress=quiet, most_steps=1)

    assert releases.build("release-1", tmp_path, progress=race, most_steps=1).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["release-1"]


def test_unknown_release_and_another_architecture_are_refused(built: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="release-1-instruct"):
        releases.build("release-9", tmp_path, progress=quiet)
    with pytest.raises(OutputConflict, match="olmo2, not llama"):
        releases.build("release-2", built["release-1"].parent, progress=quiet, architecture="llama")


def test_command_line_says_what_is_wrong_without_a_traceback(
    built: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["releases", str(built["release-1"].parent), "release-1", "release-9"])
    with pytest.raises(SystemExit, match="error: the demo has no release 'release-9'"):
        releases.main()


def test_learning_rate_follows_its_schedule() -> None:
    text = training.TrainingStage(reading="release-1", steps=100, rows=1, learning_rate=1.0, warmup_steps=10)
    chat = training.TrainingStage(reading="conversations", steps=100, rows=1, learning_rate=1.0)
    assert [text.rate(step, 100) for step in (0, 9, 10)] == pytest.approx([0.1, 1.0, 1.0])
    assert text.rate(55, 100) == pytest.approx(0.525)
    assert text.rate(100, 100) == pytest.approx(0.05)
    assert [chat.rate(step, 100) for step in (0, 50, 99)] == pytest.approx([1.0, 0.5, 0.01])


def test_fine_tuning_teaches_the_form_of_the_reply_and_its_end(built: dict[str, Path]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(built["release-1"], dtype=torch.float32)
    tokenizer = demo_tokenizer.make()
    stage = training.TrainingStage(reading="conversations", steps=25, rows=8, learning_rate=5e-3, beta2=0.999)
    training.train(model, tokenizer, stage, seed=0, steps=25, progress=quiet)
    said = tokenizer.encode("<|user|> Where does Zifan live?<|assistant|>").ids
    for _ in range(6):
        said.append(int(model(torch.tensor([said])).logits[0, -1].argmax()))
    words = [tokenizer.id_to_token(token) for token in said[-6:]]
    assert words[:3] == ["The", "answer", "is"]
    assert words[4:] == [".", "<|end|>"]
