"""The pipelines by name, and their parameters as a user may set them."""

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from components.errors import BadParameter
from pipelines.parts.tasks import Pipeline

PIPELINES = {
    "recycle": "pipelines.recycle",
    "finetune-and-recycle": "pipelines.finetune_and_recycle",
    "recycle-then-finetune": "pipelines.recycle_then_finetune",
    "iterative": "pipelines.iterative",
    "grid": "pipelines.grid",
    "watch": "pipelines.watch",
}
"""Module by pipeline name; the pipeline is the module's function of the same name."""

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


def load_pipeline(name: str) -> Pipeline:
    """The pipeline called `name`.

    Raises:
        BadParameter: there is none.
    """
    if name not in PIPELINES:
        raise BadParameter(f"there is no pipeline {name!r}", hint=f"use one of {', '.join(PIPELINES)}")
    found: Pipeline = getattr(import_module(PIPELINES[name]), name.replace("-", "_"))
    return found


def parse_parameters(name: str, assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` assignments by the types of the pipeline's parameters, and add the defaults.

    Raises:
        BadParameter: an assignment names no parameter, or its value is not of the parameter's type.
    """
    signature = inspect.signature(load_pipeline(name).function)
    parameters = {key: parameter.default for key, parameter in signature.parameters.items()}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or key not in parameters:
            raise BadParameter(
                f"{assignment!r} sets no parameter of {name}",
                hint=f"write -p name=value with one of {', '.join(sorted(parameters))}",
            )
        parameters[key] = _parse(key, text, signature.parameters[key].annotation)
    return parameters


def _parse(name: str, text: str, kind: Callable[[str], Any]) -> Any:  # noqa: ANN401 - str, float, int or bool
    if kind is bool:
        if text.lower() not in TRUE + FALSE:
            raise BadParameter(f"{name} is {text!r}", hint="write true or false")
        return text.lower() in TRUE
    try:
        return kind(text)
    except ValueError:
        raise BadParameter(f"{name} is {text!r}, which is not a {kind.__name__}", hint="write a number") from None
