"""A fine-tune from the store to the store; one that was done before is not done again."""

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from components.checkpoints import Checkpoint, derive, digest_of, identify, read_layout
from components.finetune.data.dataset import Dataset, pinned, text_of
from components.finetune.data.summary import Survey, survey
from components.finetune.recipe import Recipe, TrlRecipe
from components.sources import FolderSource
from components.store import Store, local_copy
from components.tracking import Tracker

METHOD = "fine-tuning"

logger = logging.getLogger(__name__)

Train = Callable[[Path, Path, Path], None]
"""Trains the base in a folder to an output folder, with a scratch folder."""


def finetune_in_store(base: Checkpoint, recipe: Recipe, dataset: str, store: Store, tracker: Tracker) -> Checkpoint:
    """Fine-tune `base` by `recipe`, on `dataset` where one is named, with the trainer that the recipe is for.

    See `components.finetune.trl.train.finetune` and `components.finetune.open_instruct.command.train.finetune`.
    """
    data = _look_at(dataset or recipe.dataset, tracker)
    trainer, train = _trainer(base, recipe, data, tracker)
    settings = {
        "recipe": recipe.name,
        "recipe digest": digest_of(recipe.decisive),
        "dataset": text_of(data.dataset),
        "dataset digest": data.digest,
        "trainer": trainer,
    }
    derivation = derive(METHOD, {"source base": base}, settings)
    # Said in the record and not in the key: another wording is no other training.
    recorded = derivation.model_copy(update={"settings": settings | _departures(recipe)})

    def make(work: Path) -> Checkpoint:
        output = work / "model"
        if not output.is_dir():  # complete where it is there: an earlier try trained it and could not publish it
            with local_copy(base, store) as folder:
                train(folder, output, work / "scratch")
        return identify(read_layout(FolderSource(path=output))).model_copy(
            update={"name": f"{base.name}-{recipe.name}", "origin": {}, "derivation": recorded}
        )

    return store.get_or_create_checkpoint("fine-tune", derivation.key, make)


def _look_at(dataset: Dataset, tracker: Tracker) -> Survey:
    data = survey(pinned(dataset))
    logger.info("learning from %s: %d rows, beginning with\n%s", text_of(data.dataset), data.rows, data.preview)
    tracker.params(data.params)
    tracker.text(data.preview, "dataset-preview.txt")
    return data


def _trainer(base: Checkpoint, recipe: Recipe, data: Survey, tracker: Tracker) -> tuple[str, Train]:
    """What trains, named with its versions, and how to call it."""

    def report(step: int, figures: dict[str, float]) -> None:
        tracker.metrics(figures, step)

    if isinstance(recipe, TrlRecipe):
        trl_recipe = recipe

        def with_trl(folder: Path, output: Path, scratch: Path) -> None:
            from components.finetune.trl.train import finetune

            finetune(
                base=folder, output=output, recipe=trl_recipe, dataset=data.dataset, scratch=scratch, report=report
            )

        return f"trl {version('trl')}, transformers {version('transformers')}, torch {version('torch')}", with_trl

    from components.finetune.open_instruct.checkout import find_checkout

    checkout, open_instruct_recipe = find_checkout(), recipe
    tracker.params({"trainer": checkout.trainer})

    def with_open_instruct(folder: Path, output: Path, scratch: Path) -> None:
        from components.finetune.open_instruct.train import Work, finetune

        work = Work(
            base=folder,
            base_digest=base.digest,
            recipe=open_instruct_recipe,
            data=data,
            checkout=checkout,
            hardware=checkout.hardware,
        )
        finetune(work, output=output, scratch=scratch, report=report, note=tracker.params)

    return checkout.trainer, with_open_instruct


def _departures(recipe: Recipe) -> dict[str, str]:
    if isinstance(recipe, TrlRecipe) or not recipe.departures:
        return {}
    return {"departures": " ".join(f"({number}) {text}" for number, text in enumerate(recipe.departures, start=1))}
