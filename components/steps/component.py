"""How a step's function becomes a KFP component."""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

from components import __version__, settings
from components.system import source_digest

START = """p=$(mktemp -d)/step.py
printf %s "$0" > "$p"
_KFP_RUNTIME=true RECYCLE_SOURCE={source} exec python3 -m kfp.dsl.executor_main --component_module_path "$p" "$@"
"""
"""What KFP starts a step with, shorter, and without a shell that stays: signals reach Python."""


def component(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a step of a pipeline, whose function runs in an image that has this package and all that it needs.

    KFP would copy the function's source into every run, where a cluster keeps it some ten times a step and refuses what
    is over a mebibyte. So the program of a step is one import, and the source is the image's.

    Where KFP runs a step, its executor wants the function itself, and there is no `dsl.component`.
    """
    if os.environ.get("_KFP_RUNTIME") == "true":
        settings.read_mounts()
        return function
    made: Any = dsl.component(function, base_image=f"recycle/runtime:{__version__}", install_kfp_package=False)
    container = made.component_spec.implementation.container
    program = f"from {function.__module__} import {function.__name__}\n"
    container.command = ["sh", "-ec", START.format(source=source_digest()), program]
    step: Callable[..., Any] = made
    return step
