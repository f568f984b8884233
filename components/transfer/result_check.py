"""A last look at a result, before and after it is written: what a loader would stumble over."""

from typing import Any

from components.checkpoints import Layout, language_values, vocabulary_rows
from components.errors import BadCheckpoint, Incompatible
from components.transfer.shards import TransferPlan


def check_config(plan: TransferPlan, config: dict[str, Any]) -> None:
    """Make sure that transformers reads the result's config, where more was changed in it than dtype and token ids.

    Raises:
        Incompatible: it reads the target's and not this one.
    """
    if plan.rows == plan.target_rows and not plan.unties:
        return
    failure = _failure(config)
    if failure and not _failure(plan.target_base.config):
        raise Incompatible(
            f"transformers does not read the config that the result would have: {failure}",
            hint="save the fine-tuned model again with the tokenizer's size and ties of its base",
        )


def check_result(result: Layout, plan: TransferPlan) -> None:
    """Make sure that a written result agrees with itself.

    Raises:
        BadCheckpoint: it lacks a tensor, or its config names another number of rows than it has.
    """
    planned = {tensor.name for shard in plan.shards for tensor in shard.tensors}
    vocabulary = language_values(result.config).get("vocab_size")
    agreed = language_values(plan.target_base.config).get("vocab_size") == plan.target_rows
    rows = plan.rows if agreed and isinstance(vocabulary, int) else vocabulary
    if planned != result.tensors.keys() or rows != vocabulary or (agreed and vocabulary_rows(result) != plan.rows):
        raise BadCheckpoint(
            f"the result at {result.source.reference} does not agree with itself: {len(result.tensors)} tensors of "
            f"{len(planned)}, {rows} rows for a vocab_size of {vocabulary}",
            hint="run the same command again; if it repeats, report it with the three config.json",
        )


def _failure(config: dict[str, Any]) -> str:
    """Why transformers does not read a config, empty where it does or does not know the model."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config.get("model_type") not in CONFIG_MAPPING_NAMES:
        return ""
    try:
        AutoConfig.for_model(**config)
    # Whatever a config class raises, it is the same to whoever wants to load the result.
    except Exception as error:
        return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:300]}"
    return ""
