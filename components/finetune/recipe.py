"""Fine-tuning recipes: named YAML files beside this module, or one's own."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.named import load_named


class Recipe(BaseModel):
    """How to fine-tune, in the names that trainers use.

    The optimizer is AdamW with betas 0.9 and 0.999, ε 1e-8 and gradients clipped to norm 1, the defaults of
    transformers. The loss is the cross-entropy of the assistant's answers, averaged over their tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    description: str
    dataset: str
    """`demo`, or a .jsonl or .parquet file; a run may name another."""
    max_steps: int = Field(ge=1)
    """Optimizer steps."""
    per_device_batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    learning_rate: float = Field(gt=0)
    """At its highest, after the warm-up."""
    lr_scheduler: Literal["linear", "cosine", "constant"]
    """The course after the warm-up; `linear` and `cosine` end at 0."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_sequence_length: int = Field(ge=2)
    """In tokens; the rest of a longer conversation is cut off."""
    seed: int = Field(default=123, ge=0)
    save_every_steps: int = Field(ge=1)
    """What a killed run may lose."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the matrix products; weights and optimizer are float32 while training."""


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name or from a YAML file.

    Raises:
        BadParameter: there is none, or it is not a recipe.
    """
    return load_named("recipe", name_or_path, Recipe)[0]
