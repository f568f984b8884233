"""Values that pipelines take and that can be checked before anything is looked at."""

import re

from components.definitions import find_definition
from components.errors import BadParameter
from components.transfer import check_policy, parse_scale

MODEL_NAME = re.compile(r"\w[\w .-]{0,199}", re.ASCII)


def check_values(*, scale: str, dtype: str, suite: str, recipe: str, gate_tolerance: float, model_name: str) -> None:
    """Refuse values that cannot be, before anything is looked at.

    Args:
        scale: λ.
        dtype: the dtype policy.
        suite: name of an evaluation suite.
        recipe: name of a fine-tuning recipe, empty where nothing is fine-tuned.
        gate_tolerance: a share of the score.
        model_name: what the registered model is to be called.

    Raises:
        BadParameter: one of them is not what it must be.
    """
    parse_scale(scale)
    check_policy(dtype)
    find_definition("evaluation suite", suite)
    if recipe:
        find_definition("recipe", recipe)
    if not 0 <= gate_tolerance <= 1:
        raise BadParameter(f"gate_tolerance is {gate_tolerance}", hint="give a share of the score from 0 to 1")
    if not MODEL_NAME.fullmatch(model_name):
        raise BadParameter(
            f"model_name is {model_name!r}, which MLflow's registry would not take or find again",
            hint="use letters, digits, spaces, and . _ -",
        )
