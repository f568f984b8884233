"""Fine-tuning with TRL on one machine: CPU or one GPU."""

import logging
from importlib.metadata import version
from pathlib import Path

from components.checkpoints import Layout, read_layout
from components.finetune.data.dataset import Dataset, load_examples
from components.finetune.data.encoding import Encoded, encode
from components.finetune.job import digest_of_examples, job_folder, last_complete, step_of
from components.finetune.recipe import TrlRecipe
from components.finetune.tokenizer import load_tokenizer
from components.finetune.trl.trainer import Report, ReportingCallback, load_model, make_trainer
from components.finetune.weights import check_vacant, write_like_base
from components.sources import FolderSource
from components.system import discard, exclusive_lock, sha256_file

logger = logging.getLogger(__name__)


def finetune(*, base: Path, output: Path, recipe: TrlRecipe, dataset: Dataset, scratch: Path, report: Report) -> None:
    """Fine-tune the checkpoint in `base` and write the result to `output`.

    Weights and optimizer are float32 while training; the result has the base's file names, tensor names, shapes and
    dtypes, and its config and tokenizer files. The same base, recipe, dataset and number of threads give the same
    bytes on a CPU, whether or not the run was killed in between.

    Args:
        base: folder with a checkpoint.
        output: folder to make; complete or absent afterwards.
        recipe: how to train.
        dataset: instead of the recipe's own; empty for that one.
        scratch: folder for checkpoints, kept after a kill so that the same call goes on where it stopped, emptied at
            the end.
        report: called every few steps with the step and `loss`, `learning_rate`, `grad_norm`, `token_accuracy` and
            `samples_per_second`.

    Raises:
        BadParameter: the dataset cannot be learned from.
        BadCheckpoint: the base cannot be trained as it is.
        OutputConflict: `output` holds something.
        ProgramFailed: the loss or a weight became NaN or infinite.
    """
    check_vacant(output)
    layout = read_layout(FolderSource(path=base))
    examples = load_examples(dataset or recipe.dataset)
    tokenizer = load_tokenizer(base)
    encoded = encode(examples, tokenizer, max_length=recipe.max_sequence_length)
    with exclusive_lock(scratch, wait=False):
        job = job_folder(scratch, _identity(base, layout, recipe, encoded))
        resumed = last_complete(job)
        if resumed:
            logger.info("going on from %s", resumed.name)
        if resumed and step_of(resumed) == recipe.max_steps:
            # Killed before the result was written. The trainer would take a step too many.
            model = load_model(resumed)
        else:
            model = load_model(base)
            trainer = make_trainer(model, tokenizer, recipe, encoded, job, ReportingCallback(report))
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        write_like_base(layout, base, model.state_dict(), output)
        discard(job)


def _identity(base: Path, layout: Layout, recipe: TrlRecipe, examples: list[Encoded]) -> dict[str, object]:
    """All that decides the result: a checkpoint of a job that differs in any of it is of no use."""
    return {
        "recipe": recipe.decisive,
        "examples": digest_of_examples(examples),
        "base": {file.path: sha256_file(base / file.path) for file in layout.files},
        "software": {name: version(name) for name in ("torch", "transformers", "trl")},
    }
