"""A pipeline's description in KFP's UI, whose form for a new run shows the names of parameters alone."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from pipelines.parts.glossary import PipelineParameter, explained_parameters, split_docstring

OWN_TUNED = ("releases", "source_base", "source_tuned", "target_base")
"""The parameters that somebody sets who has a fine-tune, of a pipeline that takes one."""
OWN_BASES = ("bases", "source_base", "target_base", "dataset")
"""Those of a pipeline that makes the fine-tune."""
NUMBERS = {2: "these two", 3: "these three"}
_PARTS = re.compile(r"`[^`]*`|\b[a-z]+(?:_[a-z]+)+\b|[_*]")


def describe_for_ui(function: Callable[..., Any]) -> str:
    """What to fill in, what a pipeline does and what each parameter means, as Markdown without bare underscores."""
    text, _ = split_docstring(function)
    parameters = explained_parameters(function)
    takes_tuned = any(each.name == "source_tuned" for each in parameters)
    own = [each for each in parameters if each.name in (OWN_TUNED if takes_tuned else OWN_BASES)]
    others = [each for each in parameters if each not in own]
    purpose = "move your own fine-tune" if takes_tuned else "fine-tune and move your own models"
    return "\n\n".join(
        [
            f"To {purpose}, fill in {NUMBERS[len(own)]}. As they are, the demo runs.",
            _table(own),
            *(to_markdown(" ".join(paragraph.split())) for paragraph in text.split("\n\n")),
            "The other parameters:",
            _table(others),
        ]
    )


def to_markdown(text: str) -> str:
    """Text with code spans as Markdown that shows every sign: parameters' names become code spans, too."""

    def shown(found: re.Match[str]) -> str:
        part = found[0]
        if part.startswith("`"):
            return part
        return f"\\{part}" if part in "_*" else f"`{part}`"

    return _PARTS.sub(shown, text)


def _table(parameters: Iterable[PipelineParameter]) -> str:
    rows = []
    for each in parameters:
        default = "empty" if each.default == "" else f"`{each.default}`"
        rows.append(f"| `{each.name}` | {default} | {to_markdown(each.explanation)} |")
    return "\n".join(["| parameter | as it is | what it is |", "| --- | --- | --- |", *rows])
