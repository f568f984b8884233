"""A fine-tune from the store to the store; one that was done before is not done again."""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoints import Checkpoint, derive, digest_of, identify, read_layout
from components.finetune.data.dataset import Dataset, pinned, text_of
from components.finetune.data.summary import DatasetSummary, summarize
from components.finetune.recipe import OpenInstructRecipe, Recipe, TrlRecipe
from components.sources import FolderSource
from components.store import Store, local_copy
from components.tracking import Tracker

if TYPE_CHECKING:
    from components.finetune.open_instruct.checkout import Checkout

METHOD = "fine-tuning"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders that a training reads and writes."""

    base: Path
    output: Path
    scratch: Path


def finetune_in_store(base: Checkpoint, recipe: Recipe, dataset: str, store: Store, tracker: Tracker) -> Checkpoint:
    """Fine-tune a base with the trainer that the recipe is for (`trl.train.finetune`, `open_instruct.train.finetune`).

    What was made before is found again for the same base, the same dataset row by row, the recipe but for its words,
    and the same versions of the trainer.

    Args:
        base: a checkpoint of the store.
        recipe: how to train.
        dataset: learned from instead of the recipe's own; empty for that one.
        store: where the base is and the result goes.
        tracker: told of the dataset, the trainer and the figures as they come.

    Raises:
        RecycleError: as those functions do.
    """
    data = _summarized(dataset or recipe.dataset, tracker)
    trainer = _trainer_for(recipe, tracker)
    settings = {
        "recipe": recipe.name,
        "recipe digest": digest_of(recipe.decisive),
        "dataset": text_of(data.dataset),
        "dataset digest": data.digest,
        "trainer": trainer.identity,
    }
    derivation = derive(METHOD, {"source base": base}, settings)
    # Said in the record and not in the key: another wording is no other training.
    recorded = derivation.model_copy(update={"settings": settings | _departures(recipe)})

    def make(work: Path) -> Checkpoint:
        output = work / "model"
        if not output.is_dir():  # complete where it is there: an earlier try trained it and could not publish it
            with local_copy(base, store) as folder:
                trainer.train(base, data, Folders(base=folder, output=output, scratch=work / "scratch"), tracker)
        return identify(read_layout(FolderSource(path=output))).model_copy(
            update={"name": f"{base.name}-{recipe.name}", "origin": {}, "derivation": recorded}
        )

    return store.get_or_create_checkpoint("fine-tune", derivation.key, make)


def _summarized(dataset: Dataset, tracker: Tracker) -> DatasetSummary:
    data = summarize(pinned(dataset))
    logger.info("learning from %s: %d rows, beginning with\n%s", text_of(data.dataset), data.rows, data.preview)
    tracker.params(data.params)
    tracker.text(data.preview, "dataset-preview.txt")
    return data


def _trainer_for(recipe: Recipe, tracker: Tracker) -> "_Trl | _OpenInstruct":
    if isinstance(recipe, TrlRecipe):
        return _Trl(recipe=recipe)
    from components.finetune.open_instruct.checkout import find_checkout

    found = _OpenInstruct(recipe=recipe, checkout=find_checkout())
    tracker.params({"trainer": found.identity})
    return found


@dataclass(frozen=True, kw_only=True)
class _Trl:
    recipe: TrlRecipe

    @property
    def identity(self) -> str:
        """The trainer's name with all versions that can change the result."""
        return f"trl {version('trl')}, transformers {version('transformers')}, torch {version('torch')}"

    def train(self, base: Checkpoint, data: DatasetSummary, folders: Folders, tracker: Tracker) -> None:
        """Train the base in `folders.base` to `folders.output`."""
        from components.finetune.trl.train import finetune

        finetune(
            base=folders.base,
            output=folders.output,
            recipe=self.recipe,
            dataset=data.dataset,
            scratch=folders.scratch,
            report=lambda step, figures: tracker.metrics(figures, step),
        )


@dataclass(frozen=True, kw_only=True)
class _OpenInstruct:
    recipe: OpenInstructRecipe
    checkout: "Checkout"

    @property
    def identity(self) -> str:
        """The trainer's name with all versions that can change the result."""
        return self.checkout.trainer

    def train(self, base: Checkpoint, data: DatasetSummary, folders: Folders, tracker: Tracker) -> None:
        """Train the base in `folders.base` to `folders.output`."""
        from components.finetune.open_instruct.train import TrainingJob, finetune

        job = TrainingJob(
            base=folders.base,
            base_digest=base.digest,
            recipe=self.recipe,
            data=data,
            checkout=self.checkout,
            hardware=self.checkout.hardware,
        )
        finetune(
            job,
            output=folders.output,
            scratch=folders.scratch,
            report=lambda step, figures: tracker.metrics(figures, step),
            note=tracker.params,
        )


def _departures(recipe: Recipe) -> dict[str, str]:
    if isinstance(recipe, TrlRecipe) or not recipe.departures:
        return {}
    return {"departures": " ".join(f"({number}) {text}" for number, text in enumerate(recipe.departures, start=1))}
