"""What pipelines refuse before their first step starts."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from components.evaluate.suite import check_harness, load_suite
from components.finetune.dataset import check_dataset
from components.finetune.open_instruct_checkout import check_trainer
from components.finetune.recipe import load_recipe, shortened
from components.plan_lengths.plan import parse_lengths
from components.resolve.choice import Choice, complete
from components.resolve_bases.choice import choose
from components.values import check_values


def check_recycling(parameters: Mapping[str, Any]) -> None:
    """Refuse what would fail in some later step, before the first one starts.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    _check_recycling(parameters, continues=False)


def check_lengths(parameters: Mapping[str, Any]) -> None:
    """The same where the recycled model is fine-tuned further, over several lengths.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    shares = parse_lengths(parameters["lengths"])
    recipe = _check_recycling(parameters, continues=True)
    for share in shares:
        shortened(load_recipe(recipe), share)


def check_chain(parameters: Mapping[str, Any]) -> None:
    """The same where several bases are gone along.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    _check_bases(parameters, chain=True)


def check_grid(parameters: Mapping[str, Any]) -> None:
    """The same where each of several bases is moved onto each other one.

    Raises:
        BadParameter: a value cannot be, or a file that it names is not what it must be.
    """
    _check_bases(parameters, chain=False)


def _check_recycling(parameters: Mapping[str, Any], *, continues: bool) -> str:
    given = Choice(**{part.name: parameters.get(part.name, "") for part in fields(Choice)})
    finetunes = "recipe" in parameters and not continues
    chosen = complete(given, parameters["transfer"], finetunes=finetunes, continues=continues)
    _check_values(parameters, suite=chosen.suite, recipe=chosen.recipe)
    return chosen.recipe


def _check_bases(parameters: Mapping[str, Any], *, chain: bool) -> None:
    chosen = choose(parameters["bases"], suite=parameters["suite"], recipe=parameters["recipe"], chain=chain)
    _check_values(parameters, suite=chosen.suite, recipe=chosen.recipe)


def _check_values(parameters: Mapping[str, Any], *, suite: str, recipe: str) -> None:
    check_values(
        scale=parameters["scale"],
        dtype=parameters["dtype"],
        suite=suite,
        recipe=recipe,
        gate_tolerance=parameters.get("gate_tolerance", 0.0),
        model_name=parameters.get("model_name", "none"),
    )
    check_harness(load_suite(suite))
    if recipe:
        loaded = load_recipe(recipe)
        check_trainer(loaded)
        check_dataset(parameters["dataset"] or loaded.dataset)
