"""What pipelines refuse before their first step starts."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from components.evaluate import check_harness, load_suite
from components.finetune import check_dataset, check_trainer, load_recipe, shortened
from components.planning import Choice, check_values, choose, complete, parse_lengths, quick_suite, search_points
from components.transfer import parse_scale
from components.units import parse_duration
from components.watch import check_watch


def check_recycling(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in some later step, before the first one starts.

    Args:
        parameters: all of the pipeline's.
        here: whether its steps run on this machine, so that what they need must be on it.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    chosen = _chosen(parameters, continues=False)
    if parameters.get("scale_search"):
        search_points(parameters["scale_search"], parse_scale(parameters["scale"]))
        load_suite(quick_suite(chosen.suite))
    _check_values(parameters, suite=chosen.suite, recipe=chosen.recipe, here=here)


def check_lengths(parameters: Mapping[str, Any], *, here: bool) -> None:
    """The same where the recycled model is fine-tuned further, over several lengths.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    shares = parse_lengths(parameters["lengths"])
    chosen = _chosen(parameters, continues=True)
    _check_values(parameters, suite=chosen.suite, recipe=chosen.recipe, here=here)
    for share in shares:
        shortened(load_recipe(chosen.recipe), share)


def check_chain(parameters: Mapping[str, Any], *, here: bool) -> None:
    """The same where several bases are gone along.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    _check_bases(parameters, chain=True, here=here)


def check_grid(parameters: Mapping[str, Any], *, here: bool) -> None:
    """The same where each of several bases is moved onto each other one.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    _check_bases(parameters, chain=False, here=here)


def check_watching(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in some later step of a tick, before the first one starts (see `check_recycling`).

    Raises:
        RecycleError: a value cannot be, or a file that it names is not what it must be.
    """
    watched = ("releases", "source_base", "source_tuned", "suite")
    check_watch(**{name: parameters[name] for name in watched})
    parse_duration(parameters["retry_after"], "retry_after", at_least=1)
    checked = ("scale", "dtype", "suite", "gate_tolerance", "model_name")
    check_values(recipe="", **{name: parameters[name] for name in checked})
    if here:
        check_harness(load_suite(parameters["suite"]))


def _chosen(parameters: Mapping[str, Any], *, continues: bool) -> Choice:
    given = Choice(**{part.name: parameters.get(part.name, "") for part in fields(Choice)})
    finetunes = "recipe" in parameters and not continues
    return complete(given, parameters["transfer"], finetunes=finetunes, continues=continues)


def _check_bases(parameters: Mapping[str, Any], *, chain: bool, here: bool) -> None:
    chosen = choose(parameters["bases"], suite=parameters["suite"], recipe=parameters["recipe"], chain=chain)
    _check_values(parameters, suite=chosen.suite, recipe=chosen.recipe, here=here)


def _check_values(parameters: Mapping[str, Any], *, suite: str, recipe: str, here: bool) -> None:
    check_values(
        scale=parameters["scale"],
        dtype=parameters["dtype"],
        suite=suite,
        recipe=recipe,
        gate_tolerance=parameters.get("gate_tolerance", 0.0),
        model_name=parameters.get("model_name", "none"),
    )
    if here:
        check_harness(load_suite(suite))
    if here and recipe:
        loaded = load_recipe(recipe)
        check_trainer(loaded)
        check_dataset(parameters["dataset"] or loaded.dataset)
