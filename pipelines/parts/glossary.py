"""What parameters of several pipelines mean, written once; each pipeline's docstring is completed from it.

KFP's UI shows the docstring as the pipeline's description, and reads each parameter's explanation from its `Args:`.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH = 120

CHECKPOINTS = """\
A checkpoint is named as owner/name@revision on the Hugging Face hub, as family:release for a release that Recycle
knows (olmo2-7b:M3, llama3:3.1-instruct), as a folder that the pods can read, as the path of a checkpoint.json that
Recycle wrote, or as demo:NAME, a tiny release of the built-in demo world (made on the spot)."""

TRANSFER = "A transfer fills in what is left empty. Where it and the checkpoints are left empty too, the demo runs."

EXPLANATIONS = {
    "transfer": "A published transfer by name, such as llama3:3.0-to-3.1.",
    "source_base": "The base that was fine-tuned (M_s).",
    "source_tuned": "The fine-tuned model (FT(M_s)).",
    "target_base": "The new base release (M_t).",
    "recipe": "How to fine-tune, by name; empty means the transfer's or grid's own, or the demo's.",
    "dataset": "Conversations to fine-tune on: a .jsonl or .parquet file, or hub:owner/name@revision; the recipe's own "
    "where it is empty.",
    "scale": "λ, the factor on the weight change; 1 is the published method.",
    "dtype": "What all three are cast to before the arithmetic: auto (the fine-tuned model's own), bfloat16, float16, "
    "float32, or stored (no cast).",
    "suite": "What the models are evaluated on, by name; empty means the transfer's or grid's own, or the demo's.",
    "gate_tolerance": "How far the recycled model may score below the source fine-tuned one and still pass, as a share "
    "(0.02 is two points).",
    "model_name": "The registered model in MLflow; empty means recycle-demo for the demo, and else a name made from "
    "the models'.",
}
"""By parameter; a pipeline that means something else says so in its own docstring."""


@dataclass(frozen=True, kw_only=True)
class PipelineParameter:
    """A parameter as a user may set it."""

    name: str
    kind: str
    """str, float, int or bool."""
    default: str | float | bool
    explanation: str


def split_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A Google docstring's text, and the explanations of its arguments in one line each."""
    text, _, arguments = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    explained: dict[str, str] = {}
    name = ""
    for line in arguments.splitlines():
        if found := re.match(r"    (\w+): (.*)", line):
            name, explained[found[1]] = found[1], found[2]
        elif name and line.strip():
            explained[name] += f" {line.strip()}"
    return text.strip(), explained


def explained_parameters(function: Callable[..., Any]) -> tuple[PipelineParameter, ...]:
    """The parameters of a pipeline's function in order, each explained by its docstring or else by the glossary."""
    _, own = split_docstring(function)
    return tuple(
        PipelineParameter(
            name=name,
            kind=parameter.annotation.__name__,
            default=parameter.default,
            explanation=own.get(name) or EXPLANATIONS[name],
        )
        for name, parameter in inspect.signature(function).parameters.items()
    )


def complete_docstring(function: Callable[..., Any]) -> str:
    """The docstring with how a checkpoint is named, and with every parameter explained under `Args:`."""
    text, _ = split_docstring(function)
    parameters = explained_parameters(function)
    how = CHECKPOINTS + (f" {TRANSFER}" if "transfer" in inspect.signature(function).parameters else "")
    named = textwrap.fill(" ".join(how.split()), WIDTH)
    explained = "\n".join(
        textwrap.fill(
            f"{each.name}: {each.explanation}",
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in parameters
    )
    return f"{text}\n\n{named}\n\nArgs:\n{explained}\n"
