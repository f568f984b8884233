"""What commands share: options, and how errors are reported."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from components.errors import BadParameter, RecycleError

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

PARAMETERS = click.option(
    "-p",
    "--param",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the pipeline; may be repeated.",
)


def report_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: print errors that a user can act on, and exit with 2 for bad input, 130 for Ctrl-C and 1 otherwise."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click passes
        try:
            function(*args, **kwargs)
        except RecycleError as error:
            if kwargs.get("as_json"):
                print_json({"error": type(error).__name__, "problem": error.problem, "do": error.hint})
            click.echo(f"Error: {error}", err=True)
            sys.exit(2 if isinstance(error, BadParameter) else 1)
        except KeyboardInterrupt:
            if kwargs.get("as_json"):
                print_json({"error": "KeyboardInterrupt", "problem": "stopped", "do": "run the same command again"})
            click.echo("\nStopped. Run the same command again to resume.", err=True)
            sys.exit(130)

    return wrapped


def resource_options(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the options of all commands that compile a pipeline."""
    options = [
        click.option(
            "--resources",
            "profile",
            default="cpu",
            show_default=True,
            help="Profile of what the steps' pods request: cpu, gpu, or the path of a .yaml file of your own.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="STEP.SETTING=VALUE",
            help="Override one setting of the profile, such as evaluate.gpus=2, '*.storage_class=fast' or "
            "registry=ghcr.io/acme; may be repeated.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def print_json(document: dict[str, Any]) -> None:
    """Print one object."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))
