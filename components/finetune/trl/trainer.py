"""TRL's SFTTrainer, set up for tokenized examples, watched, and silent otherwise."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging
from trl import SFTConfig, SFTTrainer

from components.errors import BadCheckpoint, ProgramFailed
from components.finetune.data.encoding import Encoded
from components.finetune.job import mark_complete
from components.finetune.recipe import TrlRecipe

Report = Callable[[int, dict[str, float]], None]

REPORTS_A_RUN = 20
REPORT_EVERY_STEPS = 10
"""Most steps between two reports: a short run reports more often, so that its curve can be seen."""
LOG_EVERY_SECONDS = 5.0

# Its warnings are about what is checked here; its progress bars are no lines for a log.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

logger = logging.getLogger(__name__)


def load_model(base: Path) -> PreTrainedModel:
    """Load the base in float32.

    Raises:
        BadCheckpoint: transformers cannot load it, or its files hold other tensors than the model has.
    """
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.float32,
            # Small matrices on a CPU: nothing to gain from fused attention, which is slower in bfloat16 there.
            attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadCheckpoint(f"the model in {base} cannot be loaded ({error})", hint="check its config.json") from None
    wrong = {kind: names for kind, names in info.items() if names}
    if wrong:
        raise BadCheckpoint(
            f"{base} does not hold the tensors that its config.json promises: {wrong}",
            hint="check tie_word_embeddings and the sizes in config.json against the weights",
        )
    return model


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: TrlRecipe,
    examples: Sequence[Encoded],
    folder: Path,
    watch: "ReportingCallback",
) -> SFTTrainer:
    """Set up a trainer that checkpoints into `folder`."""
    with warnings.catch_warnings():
        # TRL and we set `gradient_checkpointing`, whose new name older transformers do not know.
        warnings.simplefilter("ignore", FutureWarning)
        arguments = _arguments(recipe, folder)
    if arguments.n_gpu > 1:
        # torch's DataParallel would give each of them the recipe's batch, and make a step learn from more.
        logger.warning("one of the %d GPUs is used: the recipe's batch is for one", arguments.n_gpu)
        arguments._n_gpu = 1
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(
            {
                "input_ids": [example.input_ids for example in examples],
                "labels": [example.labels for example in examples],
            }
        ),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(recipe: TrlRecipe, folder: Path) -> SFTConfig:
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(folder),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.per_device_batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler if recipe.lr_scheduler != "constant" else "constant_with_warmup",
        warmup_steps=math.ceil(recipe.max_steps * recipe.warmup_ratio),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=recipe.precision == "bfloat16",
        use_cpu=not on_gpu,
        gradient_checkpointing=on_gpu,
        # Tokenized, labelled and cut already.
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="steps",
        save_steps=recipe.save_every_steps,
        # `ReportingCallback` drops old checkpoints, once the new one is marked as complete.
        save_total_limit=None,
        logging_steps=max(1, min(REPORT_EVERY_STEPS, recipe.max_steps // REPORTS_A_RUN)),
        logging_nan_inf_filter=False,
        dataloader_pin_memory=on_gpu,
        disable_tqdm=True,
        report_to="none",
    )


class ReportingCallback(TrainerCallback):  # type: ignore[misc] # transformers is not analysed
    """Marks checkpoints, passes figures on, and stops at a loss that is no number."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._samples_per_step = 0
        self._since = (0, 0.0)
        self._logged = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock."""
        self._samples_per_step = args.train_batch_size * args.gradient_accumulation_steps
        self._since = (state.global_step, time.monotonic())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Mark the checkpoint that was just written."""
        mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Check the loss and report it; the summary that transformers logs at the end has none of a step."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise ProgramFailed(
                f"the loss became {loss} by step {state.global_step}",
                hint="lower the learning rate, or train with precision float32",
            )
        figures = {
            "loss": loss,
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": float(logs["grad_norm"]),
            "token_accuracy": float(logs["mean_token_accuracy"]),
            "samples_per_second": self._samples_per_second(state.global_step),
        }
        self._report(state.global_step, figures)
        self._log(state, figures)

    def _samples_per_second(self, step: int) -> float:
        before, then = self._since
        self._since = (step, time.monotonic())
        return (step - before) * self._samples_per_step / max(self._since[1] - then, 1e-6)

    def _log(self, state: TrainerState, figures: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._logged < LOG_EVERY_SECONDS and state.global_step < state.max_steps:
            return
        self._logged = now
        logger.info(
            "step %d of %d: loss %.4f, %.0f samples/s",
            state.global_step,
            state.max_steps,
            figures["loss"],
            figures["samples_per_second"],
        )
