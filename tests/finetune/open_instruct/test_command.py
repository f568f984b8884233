from pathlib import Path

import pytest

from components.finetune.open_instruct import command as open_instruct
from components.finetune.open_instruct.memory import Launch
from components.finetune.recipe import OpenInstructRecipe, load_recipe

GPU = Launch(
    device="cuda",
    processes=4,
    accumulation=2,
    gradient_checkpointing=False,
    offload=False,
    device_bytes=1,
    host_bytes=0,
)
CPU = Launch(
    device="cpu", processes=2, accumulation=2, gradient_checkpointing=False, offload=False, device_bytes=1, host_bytes=0
)


def recipe(name: str, **changes: object) -> OpenInstructRecipe:
    loaded = load_recipe(name).model_copy(update=changes)
    assert isinstance(loaded, OpenInstructRecipe)
    return loaded


def command(name: str, launch: Launch, **changes: object) -> list[str]:
    return open_instruct.command(recipe(name, **changes), launch, python=Path("/oi/python"), checkout=Path("/oi"))


def test_the_paper_s_training_as_a_command():
    assert command("paper-math", GPU) == (
        "/oi/python -m accelerate.commands.launch --num_machines 1 --machine_rank 0 --num_processes 4 "
        "--main_process_port 0 --mixed_precision bf16 --dynamo_backend no --use_deepspeed "
        f"--deepspeed_config_file deepspeed.json {open_instruct.PROGRAM} /oi/open_instruct/finetune.py "
        "--exp_name paper-math --output_dir output --do_not_randomize_output_dir true "
        "--model_name_or_path base --tokenizer_name_or_path base --chat_template_name tulu --add_bos true "
        "--dataset_mixer_list data.jsonl 1.0 --dataset_skip_cache true --dataset_local_cache_dir cache "
        "--max_seq_length 4096 --max_train_steps 30000 --per_device_train_batch_size 1 "
        "--gradient_accumulation_steps 2 --gradient_checkpointing false --learning_rate 5e-06 "
        "--lr_scheduler_type linear --warmup_ratio 0.03 --weight_decay 0.0 --seed 123 --timeout 14400 "
        "--checkpointing_steps 5000 --keep_last_n_checkpoints 1 --clean_checkpoints_at_end false "
        "--logging_steps 10 --with_tracking true --report_to wandb --wandb_entity none --push_to_hub false "
        "--try_launch_beaker_eval_jobs false --try_auto_save_to_beaker false"
    ).split(" ")


def test_what_differs_between_recipes_and_launches():
    epochs = command("tulu3-sft", GPU)
    assert "--max_train_steps" not in epochs
    assert epochs[epochs.index("--num_train_epochs") + 1] == "2"
    tiny = command("tiny-open-instruct", CPU, lr_scheduler="constant")
    assert "--chat_template_name" not in tiny
    assert tiny[tiny.index("--add_bos") + 1] == "false"
    assert tiny[tiny.index("--lr_scheduler_type") + 1] == "constant_with_warmup"
    assert tiny[tiny.index("--num_processes") + 1] == "2"
    assert tiny[tiny.index("--logging_steps") + 1] == "1"


@pytest.mark.parametrize(
    ("launch", "own"),
    [
        (GPU, {"DS_ACCELERATOR": "cuda"}),
        (CPU, {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}),
    ],
)
def test_the_environment(monkeypatch, launch, own):
    monkeypatch.setenv("PATH", "/bin")
    made = open_instruct.environment(launch, checkout=Path("/oi"), python=Path("/oi/bin/python"), job=Path("/job"))
    assert made == {
        "PATH": "/oi/bin:/bin",
        "PYTHONPATH": "/oi",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore::DeprecationWarning",
        "HF_HOME": "/job/cache",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "GIT_COMMIT": "unknown",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        **own,
    }


def test_deepspeed_is_told_the_batch_in_numbers():
    made = open_instruct.deepspeed(GPU)
    assert (made["train_batch_size"], made["train_micro_batch_size_per_gpu"]) == (8, 1)
    assert made["gradient_accumulation_steps"] == 2
    assert made["zero_optimization"]["stage"] == 3
    assert "offload_optimizer" not in made["zero_optimization"]


def test_offloading():
    launch = Launch(**{**GPU.__dict__, "offload": True})
    made = open_instruct.deepspeed(launch)["zero_optimization"]
    assert made["offload_optimizer"] == made["offload_param"] == {"device": "cpu", "pin_memory": True}


def test_the_program_marks_its_lines_as_they_are_looked_for():
    assert f'MARK = "{open_instruct.MARK}"' in open_instruct.PROGRAM.read_text()
