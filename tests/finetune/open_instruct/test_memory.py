import json

import pytest

from components.errors import BadCheckpoint, BadParameter
from components.finetune.open_instruct.memory import Hardware, ModelSize, fit
from components.finetune.recipe import OpenInstructRecipe, load_recipe

OLMO_7B = ModelSize(parameters=7_298_617_344, layers=32, hidden=4096, vocabulary=100_352)
H100 = Hardware(device="cuda", devices=4, device_bytes=85 * 10**9, host_bytes=10**12, name="H100")


def paper(**changes: object) -> OpenInstructRecipe:
    recipe = load_recipe("paper-math").model_copy(update=changes)
    assert isinstance(recipe, OpenInstructRecipe)
    return recipe


def on(devices: int = 4, gigabytes: float = 85, host: float = 1000, **rest: object) -> Hardware:
    return Hardware(
        device="cuda",
        devices=devices,
        device_bytes=int(gigabytes * 10**9),
        host_bytes=int(host * 10**9),
        name="GPU",
        **rest,
    )


def test_the_paper_s_training_on_the_paper_s_hardware():
    launch = fit(paper(), H100, OLMO_7B)
    assert (launch.processes, launch.accumulation) == (4, 2)
    assert (launch.gradient_checkpointing, launch.offload) == (False, False)
    # 16·7.3e9/4 + 2·1e9 + 34·4096·4096·32 + 10·4096·100352
    assert launch.device_bytes == 29_194_469_376 + 2 * 10**9 + 18_253_611_008 + 4_110_417_920


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_the_batch_is_the_recipe_s_on_any_number_of_gpus(devices):
    launch = fit(paper(), on(devices, gigabytes=200), OLMO_7B)
    assert launch.effective_batch_size == 8
    assert launch.processes * launch.accumulation == 8


def test_memory_is_saved_step_by_step():
    roomy, tight, tiny = (fit(paper(), on(gigabytes=gigabytes), OLMO_7B) for gigabytes in (85, 44, 24))
    assert [(launch.gradient_checkpointing, launch.offload) for launch in (roomy, tight, tiny)] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert tiny.host_bytes == 16 * OLMO_7B.parameters


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(
        BadParameter, match=r"8 conversations a step.*3 GPUs\n.*run on 2 of them \(CUDA_VISIBLE_DEVICES=0,1"
    ):
        fit(paper(), on(3), OLMO_7B)


def test_what_does_not_fit_is_refused_with_numbers_and_a_way_out():
    with pytest.raises(
        BadParameter, match=r"7\.30 billion .* 2 × GPU with 26\.0 GB and 117 GB .*64 GB[\s\S]*use 8 such GPUs"
    ):
        fit(paper(), on(2, gigabytes=26, host=64), OLMO_7B)
    with pytest.raises(BadParameter, match=r"use larger GPUs"):
        fit(paper(), on(8, gigabytes=8, host=64), OLMO_7B)
    with pytest.raises(BadParameter, match=r"use a machine with GPUs"):
        fit(paper(), Hardware(device="cpu", devices=1, device_bytes=10**10, host_bytes=10**10), OLMO_7B)


def test_gpus_without_bfloat16():
    with pytest.raises(BadParameter, match=r"GPU does not compute in bfloat16"):
        fit(paper(), on(bfloat16=False), OLMO_7B)


def test_sizes_come_from_the_config(tmp_path):
    config = {"num_hidden_layers": 2, "hidden_size": 32, "vocab_size": 66}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert ModelSize.read(tmp_path, 1000) == ModelSize(parameters=1000, layers=2, hidden=32, vocabulary=66)
    (tmp_path / "config.json").write_text(json.dumps({"n_layer": 2}))
    with pytest.raises(BadCheckpoint, match="num_hidden_layers"):
        ModelSize.read(tmp_path, 1000)
