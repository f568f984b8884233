"""How long a recipe trains, for those who must know before the step that trains reads all of it."""

from pydantic import BaseModel

from components.errors import BadParameter
from components.named import load_named


class _Length(BaseModel):
    """Of all that is in a recipe, this."""

    max_steps: int | None = None


def check_has_steps(recipe: str) -> None:
    """Refuse a recipe that has no shares of its steps.

    Raises:
        BadParameter: it counts passes over its data, or is none.
    """
    counted_steps(recipe, load_named("recipe", recipe, _Length)[0].max_steps)


def counted_steps(recipe: str, max_steps: int | None) -> int:
    """The optimizer steps of a recipe.

    Args:
        recipe: its name.
        max_steps: what it says of them.

    Raises:
        BadParameter: nothing, since it counts passes over its data.
    """
    if max_steps is None:
        raise BadParameter(
            f"the recipe {recipe} counts passes over its data, which have no shares", do="use one that says max_steps"
        )
    return max_steps
