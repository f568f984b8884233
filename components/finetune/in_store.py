"""A fine-tune from the store to the store; one that was done before is not done again."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from components.checkpoint import Checkpoint, Derivation, derive, digest_of
from components.finetune.dataset import load_examples
from components.finetune.recipe import Recipe
from components.finetune.scratch import digest_of_examples
from components.folder import FolderSource
from components.identify import identify
from components.layout import read_layout
from components.reference import local_copy
from components.store import Store

METHOD = "fine-tuning"


def finetune_in_store(
    base: Checkpoint, recipe: Recipe, dataset: str, store: Store, report: Callable[[int, dict[str, float]], None]
) -> Checkpoint:
    """Fine-tune `base` by `recipe`, on `dataset` where one is named (see `components.finetune.train.finetune`)."""
    derivation = _derivation(base, recipe, dataset or recipe.dataset)

    def make(work: Path) -> Checkpoint:
        from components.finetune.train import finetune

        output = work / "model"
        if not output.is_dir():  # complete where it is there: an earlier try trained it and could not publish it
            with local_copy(base, store) as folder:
                finetune(
                    base=folder,
                    output=output,
                    recipe=recipe,
                    dataset=dataset,
                    scratch=work / "scratch",
                    report=report,
                )
        made = identify(read_layout(FolderSource(path=output))).model_copy(
            update={"name": f"{base.name}-{recipe.name}", "origin": {}, "derivation": derivation}
        )
        store.remember("fine-tune", derivation.key, made.digest)
        return store.take(output, made)

    return store.once(f"fine-tune-{derivation.key}", lambda: store.recall_checkpoint("fine-tune", derivation.key), make)


def _derivation(base: Checkpoint, recipe: Recipe, dataset: str) -> Derivation:
    settings = {
        "recipe": recipe.name,
        "recipe digest": digest_of(recipe.model_dump(exclude={"name", "description"})),
        "dataset": dataset,
        "dataset digest": digest_of_examples(load_examples(dataset)),
        "trainer": f"trl {version('trl')}, transformers {version('transformers')}, torch {version('torch')}",
    }
    return derive(METHOD, {"source base": base}, settings)
