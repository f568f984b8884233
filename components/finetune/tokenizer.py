"""A base's tokenizer, and what it must be for a trainer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadCheckpoint, BadParameter
from components.finetune.recipe import OpenInstructRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(base: Path) -> "PreTrainedTokenizerBase":
    """Load the base's tokenizer.

    Raises:
        BadCheckpoint: there is none that transformers can load without running code of the checkpoint's own.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(
            f"the tokenizer of {base} cannot be loaded ({error})", hint="copy the tokenizer's files beside the weights"
        ) from None
    if not tokenizer.is_fast:
        raise BadCheckpoint(f"{base} has no tokenizer.json", hint="save its tokenizer with a version that writes one")
    return tokenizer


def padding_for(tokenizer: Any, rows: int) -> str | None:  # noqa: ANN401 - transformers' classes are not analysed
    """The token to pad with in place of the tokenizer's own, None where that will do.

    Open-Instruct adds a token where there is none besides the end of sequence, and rows to the embedding where that
    does not hold it, padded to a multiple of 8: then the result's tensors no longer have the base's shapes. A token
    that is there already does as well: batches of one conversation have no padding.

    Args:
        tokenizer: the base's.
        rows: of the base's embedding.

    Raises:
        BadCheckpoint: no token will do, or the embedding has no row for some token.
    """
    if len(tokenizer) > rows:
        raise BadCheckpoint(
            f"the base's tokenizer has {len(tokenizer)} tokens and its embedding {rows} rows",
            hint="give a base whose tokenizer is its own",
        )
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return None
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    free = [
        str(token) for token in tokenizer.added_tokens_decoder.values() if token.special and str(token) not in taken
    ]
    free.sort(key=lambda token: ("pad" not in token.lower(), "reserved" not in token.lower()))
    others = (token for token in (tokenizer.unk_token, tokenizer.bos_token) if token not in (None, tokenizer.eos_token))
    chosen = next((*free, *others).__iter__(), None)
    if chosen is None and len(tokenizer) == rows:
        raise BadCheckpoint(
            "the base's tokenizer has no token to pad with, and its embedding no row for another",
            hint="name one of its tokens besides eos_token as the pad_token in its tokenizer_config.json",
        )
    return chosen


def check_chat_template(recipe: OpenInstructRecipe, tokenizer: Any, model_type: str) -> None:  # noqa: ANN401
    """Refuse a combination of base, chat template and beginning-of-sequence token that Open-Instruct refuses later.

    Raises:
        BadCheckpoint: the recipe takes the base's chat template, and it has none.
        BadParameter: the recipe's `add_bos` does not go with the base or the template.
    """
    template = tokenizer.chat_template or ""
    if recipe.chat_template == "base" and not template:
        raise BadCheckpoint(
            "the base has no chat template, so conversations cannot be written as its text",
            hint="choose a recipe with chat_template: tulu, or add a chat_template.jinja to the base",
        )
    if recipe.add_bos and tokenizer.bos_token is None:
        raise BadParameter(
            f"the recipe {recipe.name} has add_bos, and the base's tokenizer has no bos_token",
            hint="set add_bos: false in a recipe of your own",
        )
    begins = template.startswith(("{{ bos_token }}", tokenizer.bos_token or "{{ bos_token }}"))
    if recipe.add_bos and recipe.chat_template == "base" and begins:
        raise BadParameter(
            f"the recipe {recipe.name} has add_bos, and the base's chat template begins with that token already",
            hint="set add_bos: false in a recipe of your own",
        )
    if model_type.startswith("olmo") and recipe.chat_template != "base" and not recipe.add_bos:
        raise BadParameter(
            f"the base is an OLMo, which needs its beginning-of-sequence token; the recipe {recipe.name} leaves it out",
            hint="set add_bos: true in a recipe of your own",
        )
