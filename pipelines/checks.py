"""What pipelines refuse before their first step starts."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from components.evaluate.suite import check_harness, load_suite
from components.finetune.dataset import check_dataset
from components.finetune.open_instruct_checkout import check_trainer
from components.finetune.recipe import load_recipe
from components.ledger import parse_duration
from components.resolve.choice import Choice, complete
from components.resolve.points import quick_suite, search_points
from components.resolve.resolve import check_values
from components.scale import parse_scale
from components.watch.run import check_watch


def check_watching(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in some later step of a tick, before the first one starts (see `check_recycling`).

    Raises:
        RecycleError: a value cannot be, or a file that it names is not what it must be.
    """
    watched = ("releases", "source_base", "source_tuned", "suite")
    check_watch(**{name: parameters[name] for name in watched})
    parse_duration(parameters["retry_after"])
    checked = ("scale", "dtype", "suite", "gate_tolerance", "model_name")
    check_values(recipe="", **{name: parameters[name] for name in checked})
    if here:
        check_harness(load_suite(parameters["suite"]))


def check_recycling(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in some later step, before the first one starts.

    Args:
        parameters: all of the pipeline's.
        here: whether its steps run on this machine, so that what they need must be on it.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    given = Choice(**{part.name: parameters.get(part.name, "") for part in fields(Choice)})
    chosen = complete(given, parameters["transfer"], finetunes="recipe" in parameters)
    check_values(
        scale=parameters["scale"],
        dtype=parameters["dtype"],
        suite=chosen.suite,
        recipe=chosen.recipe,
        gate_tolerance=parameters["gate_tolerance"],
        model_name=parameters["model_name"],
    )
    if parameters.get("scale_search"):
        search_points(parameters["scale_search"], parse_scale(parameters["scale"]))
        load_suite(quick_suite(chosen.suite))
    if here:
        check_harness(load_suite(chosen.suite))
    if here and chosen.recipe:
        recipe = load_recipe(chosen.recipe)
        check_trainer(recipe)
        check_dataset(parameters["dataset"] or recipe.dataset)
