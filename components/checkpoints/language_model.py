"""The language model's part of a config: the config itself, or a part of it where a model has several.

A multimodal model's config has its language model's values in `text_config` or under another such name, at times two
levels deep (`thinker_config` → `text_config`). What is not said there is said outside, or is the class's default.
"""

from typing import Any

Config = dict[str, Any]

NESTED = ("text_config", "llm_config", "language_config", "language_model_config", "thinker_config", "decoder", "llm")
"""Keys that transformers and well-known checkpoints put a language model's values under."""


def language_path(config: Config) -> tuple[str, ...]:
    """Keys that lead to the language model's part, none where it is the config itself."""
    for key in NESTED:
        part = config.get(key)
        if isinstance(part, dict) and part:
            return (key, *language_path(part))
    return ()


def language_values(config: Config) -> Config:
    """The language model's values, those from outside its part where the part does not have them."""
    merged: Config = {}
    for level in _levels(config):
        merged |= {key: value for key, value in level.items() if value is not None}
    return merged


def with_language_values(config: Config, values: Config) -> Config:
    """A copy of a config that has other values for its language model.

    A value stands wherever the config has its key, else in the language model's part.
    """
    path = language_path(config)
    levels = _levels(config)
    changed = []
    for depth, level in enumerate(levels):
        is_last = depth == len(levels) - 1
        missing = {key for key in values if not any(key in other for other in levels)} if is_last else set()
        changed.append(level | {key: value for key, value in values.items() if key in level or key in missing})
    for depth in reversed(range(len(path))):
        changed[depth] = changed[depth] | {path[depth]: changed[depth + 1]}
    return changed[0]


def _levels(config: Config) -> list[Config]:
    """The config, and each part on the way to the language model's."""
    levels = [config]
    for key in language_path(config):
        levels.append(levels[-1][key])
    return levels
