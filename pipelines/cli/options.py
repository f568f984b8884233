"""What commands share: options, and how errors are told."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from components.errors import BadParameter, RecycleError

JSON = click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object instead.")

PARAMETERS = click.option(
    "-p", "--param", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a pipeline parameter."
)


def told(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: errors that a user can act on are told in words, with exit code 2 for bad input and 1 else."""

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
            click.echo("\nStopped. Run the same command again: it goes on where it was.", err=True)
            sys.exit(130)

    return wrapped


def resource_options(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: what steps ask of the cluster, for all commands that compile a pipeline."""
    options = [
        click.option(
            "--resources",
            "profile",
            default="cpu",
            show_default=True,
            help="What steps ask of the cluster: cpu, gpu, or a .yaml file of your own.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="STEP.SETTING=VALUE",
            help="Change one of them: evaluate.gpus=2, '*.storage_class=fast', registry=ghcr.io/acme.",
        ),
        click.option("--cache/--no-cache", "caching", default=True, help="Let KFP reuse results of earlier runs."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def print_json(document: dict[str, Any]) -> None:
    """Print one object."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))
