"""Open-Instruct's `finetune.py` as a program: its command line, its environment and DeepSpeed's configuration."""

import os
from pathlib import Path
from typing import Any

from components.finetune.open_instruct.memory import LIVE_PARAMETERS, MICRO_BATCH, Launch
from components.finetune.recipe import OpenInstructRecipe

PROGRAM = Path(__file__).with_name("program.py")
MARK = "recycle-open-instruct "
"""Starts the lines that `PROGRAM` writes for us; the rest of such a line is one JSON object."""
BASE, DATA, DEEPSPEED, OUTPUT, CACHE = "base", "data.jsonl", "deepspeed.json", "output", "cache"
"""Names in the job's folder, which is the working directory. Relative, because Open-Instruct treats a tokenizer
otherwise whose path has `olmo` in it, wherever in the path that is."""
REPORTS_A_RUN = 20
REPORT_EVERY_STEPS = 10
"""Most steps between two reports: a short run reports more often, so that its curve can be seen."""
PROCESS_GROUP_TIMEOUT_S = 4 * 3600
"""Time that the other processes wait while the first one tokenizes. One that ends is noticed at once all the same."""


def command(recipe: OpenInstructRecipe, launch: Launch, *, python: Path, checkout: Path) -> list[str]:
    """The command that trains in the working directory, where `BASE`, `DATA` and `DEEPSPEED` are."""
    return [
        str(python),
        *("-m", "accelerate.commands.launch"),
        *("--num_machines", "1"),
        *("--machine_rank", "0"),
        *("--num_processes", str(launch.processes)),
        *("--main_process_port", "0"),  # any that is free
        *("--mixed_precision", "bf16"),
        *("--dynamo_backend", "no"),
        "--use_deepspeed",
        *("--deepspeed_config_file", DEEPSPEED),
        str(PROGRAM),
        str(checkout / "open_instruct" / "finetune.py"),
        *_arguments(recipe, launch),
    ]


def _arguments(recipe: OpenInstructRecipe, launch: Launch) -> list[str]:
    return [
        *("--exp_name", recipe.name),
        *("--output_dir", OUTPUT),
        *("--do_not_randomize_output_dir", "true"),
        *("--model_name_or_path", BASE),
        *("--tokenizer_name_or_path", BASE),
        *(() if recipe.chat_template == "base" else ("--chat_template_name", recipe.chat_template)),
        *("--add_bos", _flag(recipe.add_bos)),
        *("--dataset_mixer_list", DATA, "1.0"),  # `1` would be one row
        *("--dataset_skip_cache", "true"),  # its cache goes by path and number of rows, not by content
        *("--dataset_local_cache_dir", CACHE),
        *("--max_seq_length", str(recipe.max_sequence_length)),
        *_length(recipe),
        *("--per_device_train_batch_size", str(MICRO_BATCH)),
        *("--gradient_accumulation_steps", str(launch.accumulation)),
        *("--gradient_checkpointing", _flag(launch.gradient_checkpointing)),
        *("--learning_rate", repr(recipe.learning_rate)),
        *("--lr_scheduler_type", "constant_with_warmup" if recipe.lr_scheduler == "constant" else recipe.lr_scheduler),
        *("--warmup_ratio", repr(recipe.warmup_ratio)),
        *("--weight_decay", repr(recipe.weight_decay)),
        *("--seed", str(recipe.seed)),
        *("--timeout", str(PROCESS_GROUP_TIMEOUT_S)),
        *("--checkpointing_steps", str(recipe.save_every_steps)),
        *("--keep_last_n_checkpoints", "1"),
        *("--clean_checkpoints_at_end", "false"),  # they go once the result is written
        *("--logging_steps", str(_report_every(recipe))),
        *("--with_tracking", "true"),
        *("--report_to", "wandb"),  # `PROGRAM` puts its own tracker in wandb's place
        *("--wandb_entity", "none"),  # or else it asks a server for one
        *("--push_to_hub", "false"),
        *("--try_launch_beaker_eval_jobs", "false"),
        *("--try_auto_save_to_beaker", "false"),
    ]


def _length(recipe: OpenInstructRecipe) -> tuple[str, str]:
    if recipe.max_steps is not None:
        return "--max_train_steps", str(recipe.max_steps)
    return "--num_train_epochs", str(recipe.epochs)


def _report_every(recipe: OpenInstructRecipe) -> int:
    if recipe.max_steps is None:
        return REPORT_EVERY_STEPS
    return max(1, min(REPORT_EVERY_STEPS, recipe.max_steps // REPORTS_A_RUN))


def _flag(value: bool) -> str:
    return "true" if value else "false"


def environment(launch: Launch, *, checkout: Path, python: Path, job: Path) -> dict[str, str]:
    """Variables that keep the program offline, to itself, and on the device that it was launched for.

    Its environment's programs come first in PATH: DeepSpeed looks there for ninja.
    """
    cpu = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    return {
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(checkout),
        "PYTHONSAFEPATH": "1",  # or else the modules beside `PROGRAM` come before those of their names
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore::DeprecationWarning",
        "HF_HOME": str(job / CACHE),  # a cache of data sets from elsewhere could hold another file of this name
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "GIT_COMMIT": "unknown",  # or else it asks GitHub about it
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        **(cpu if launch.device == "cpu" else {"DS_ACCELERATOR": "cuda"}),
    }


def deepspeed(launch: Launch) -> dict[str, Any]:
    """DeepSpeed's configuration: Open-Instruct's own for stage 3, with the batch sizes written out.

    DeepSpeed refuses to start where they do not multiply to the effective batch size.
    """
    zero: dict[str, Any] = {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": 1e9,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
        "stage3_max_live_parameters": LIVE_PARAMETERS,
        "stage3_max_reuse_distance": 1e9,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if launch.offload:
        on_host = {"device": "cpu", "pin_memory": True}
        zero |= {"offload_optimizer": on_host, "offload_param": on_host}
    return {
        "bf16": {"enabled": True},
        "zero_optimization": zero,
        "gradient_clipping": 1.0,
        "train_batch_size": launch.effective_batch_size,
        "train_micro_batch_size_per_gpu": MICRO_BATCH,
        "gradient_accumulation_steps": launch.accumulation,
        "steps_per_print": 1e5,
        "wall_clock_breakdown": False,
    }
