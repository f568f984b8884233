"""Fine-tuning recipes: YAML files of `recipes/` by their names, or the user's own by their paths."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag, model_validator

from components.definitions import load_definition
from components.errors import BadParameter
from components.finetune.data.dataset import Dataset

NOT_DECISIVE = frozenset({"name", "description", "departures"})
"""Fields that say what a recipe is and not what it does."""


class _Recipe(BaseModel):
    """Fields that recipes for every trainer have, in the names that trainers use.

    The optimizer is AdamW with betas 0.9 and 0.999, ε 1e-8 and gradients clipped to norm 1, the defaults of
    transformers and of accelerate with DeepSpeed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    description: str
    dataset: Dataset
    """The dataset, or a mix of several; a run may name another."""
    learning_rate: float = Field(gt=0)
    """The highest learning rate, reached after the warm-up."""
    lr_scheduler: Literal["linear", "cosine", "constant"]
    """The course after the warm-up; `linear` and `cosine` end at 0."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_sequence_length: int = Field(ge=2)
    """Most tokens of a conversation; the rest of a longer one is cut off."""
    seed: int = Field(default=123, ge=0)
    save_every_steps: int = Field(ge=1)
    """Optimizer steps that a killed run may lose."""

    @property
    def decisive(self) -> dict[str, object]:
        """All of it that can change the result."""
        return self.model_dump(mode="json", exclude=set(NOT_DECISIVE))


class TrlRecipe(_Recipe):
    """A recipe for TRL, on one machine's CPU or one GPU.

    The loss is the cross-entropy of the assistant's answers, averaged over their tokens.
    """

    trainer: Literal["trl"] = "trl"
    max_steps: int = Field(ge=1)
    """Optimizer steps."""
    per_device_batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the matrix products; weights and optimizer are float32 while training."""


class OpenInstructRecipe(_Recipe):
    """A recipe for Open-Instruct's `finetune.py` with DeepSpeed on one or several GPUs of one machine.

    The loss of a conversation is the cross-entropy of the assistant's answers, averaged over their tokens; a step
    averages over the conversations of its batch. Matrix products and weights are bfloat16, the optimizer's copy of
    the weights and its moments float32.
    """

    trainer: Literal["open-instruct"]
    effective_batch_size: int = Field(ge=1)
    """Conversations that each optimizer step learns from, on all GPUs together."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; or else `epochs`."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the dataset; or else `max_steps`."""
    chat_template: Literal["base", "tulu"]
    """The base's own, or Open-Instruct's of that name; the result is saved with it."""
    add_bos: bool
    """Whether the beginning-of-sequence token is put before the chat template."""
    departures: tuple[str, ...] = ()
    """Differences from the published training that the recipe follows."""

    @model_validator(mode="after")
    def _one_length(self) -> "OpenInstructRecipe":
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("give either max_steps or epochs")
        return self


Recipe = TrlRecipe | OpenInstructRecipe


def _trainer_of(content: object) -> object:
    return content.get("trainer", "trl") if isinstance(content, dict) else "trl"


class _File(
    RootModel[
        Annotated[
            Annotated[TrlRecipe, Tag("trl")] | Annotated[OpenInstructRecipe, Tag("open-instruct")],
            Discriminator(_trainer_of, custom_error_type="trainer", custom_error_message="it is trl or open-instruct"),
        ]
    ]
):
    """A recipe's YAML file."""


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name or from a YAML file; one that names no trainer is for TRL.

    Raises:
        BadParameter: there is none, or it is not a recipe.
    """
    return load_definition("recipe", name_or_path, _File)[0].root


def shortened(recipe: Recipe, share: float) -> Recipe:
    """The recipe as a training of its own over a share of its steps, with its whole schedule in them.

    Args:
        recipe: what is shortened.
        share: of the optimizer steps, above 0 and at most 1, which is the recipe itself.

    Raises:
        BadParameter: it is no such share, or the recipe does not say how many steps it takes.
    """
    if not 0 < share <= 1:
        raise BadParameter(f"a training cannot be {share} of its length", hint="give shares above 0 and at most 1")
    if share == 1:
        return recipe
    steps = max(1, round(share * _counted_steps(recipe)))
    return recipe.model_copy(update={"name": f"{recipe.name}-{steps}-steps", "max_steps": steps})


def check_has_steps(name_or_path: str) -> None:
    """Refuse a recipe that has no shares of its steps.

    Raises:
        BadParameter: it counts passes over its data, or is none.
    """
    _counted_steps(load_recipe(name_or_path))


def _counted_steps(recipe: Recipe) -> int:
    if recipe.max_steps is None:
        raise BadParameter(
            f"the recipe {recipe.name} counts passes over its data, which have no shares",
            hint="use one that says max_steps",
        )
    return recipe.max_steps
