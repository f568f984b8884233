"""A checkpoint as transformers 4 has to see it, without a copy of its weights.

Since version 5, transformers saves what version 4 silently overlooks or cannot read. Under version 4 a model then
rotates its positions with the default base of 10,000 and without scaling, and answers worse for no visible reason.
"""

import json
from pathlib import Path
from typing import Any

from components.checkpoints import TOKENIZER_CONFIG, rope_scaling
from components.errors import BadCheckpoint

CONFIG = "config.json"


def make_transformers4_copy(checkpoint: Path, copy: Path) -> None:
    """Fill the new folder `copy` with links to the files of `checkpoint`, and repair the two that need it.

    Raises:
        BadCheckpoint: its config says something that transformers 4 has no words for, or is not JSON.
    """
    copy.mkdir()
    repairs = {CONFIG: repair_config, TOKENIZER_CONFIG: repair_tokenizer_config}
    for path in sorted(checkpoint.iterdir()):
        if path.name in repairs:
            written = _read(path)
            (copy / path.name).write_text(json.dumps(repairs[path.name](written), indent=2), encoding="utf-8")
        elif path.is_file():
            (copy / path.name).symlink_to(path.resolve())


def has_chat_template(checkpoint: Path) -> bool:
    """Whether the checkpoint's tokenizer can write conversations."""
    path = checkpoint / TOKENIZER_CONFIG
    return (checkpoint / "chat_template.jinja").is_file() or (path.is_file() and bool(_read(path).get("chat_template")))


def repair_config(config: dict[str, Any]) -> dict[str, Any]:
    """Say `rope_parameters`, as version 5 has it, in version 4's `rope_theta` and `rope_scaling` as well.

    Raises:
        BadCheckpoint: layers differ in it, which version 4 cannot say.
    """
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict):
        return config
    if any(isinstance(value, dict) for value in rope.values()):
        raise BadCheckpoint(
            "the model rotates positions differently in different layers, which its config.json says in a way that "
            "transformers 4, and so OLMES, does not understand",
            hint="evaluate it with lm-evaluation-harness",
        )
    repaired = config | {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    scaling = rope_scaling(config)
    if scaling is not None:
        repaired["rope_scaling"] = scaling
    return repaired


def repair_tokenizer_config(config: dict[str, Any]) -> dict[str, Any]:
    """Name a tokenizer class, and list extra special tokens, in version 4's words."""
    repaired = dict(config)
    if config.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizer"):
        repaired["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        repaired["additional_special_tokens"] = repaired.pop("extra_special_tokens")
    return repaired


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} is not a JSON object", hint="get the checkpoint again")
    return content
