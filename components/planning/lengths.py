"""Lengths of trainings, as shares of a recipe's steps."""

from components.errors import BadParameter

Training = dict[str, str | float]
"""The label of a training, and its share of the recipe's steps."""


def parse_lengths(text: str) -> tuple[float, ...]:
    """Read shares with commas between them, shortest first.

    Raises:
        BadParameter: one is no share above 0 and below 1, comes twice, or there is none.
    """
    try:
        shares = sorted(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        shares = []
    if not shares or not all(0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
        raise BadParameter(
            f"lengths is {text!r}", hint="give different shares above 0 and below 1, such as 0.125, 0.25, 0.5"
        )
    return tuple(shares)


def trainings(start: str, lengths: str) -> list[Training]:
    """The trainings from one start, as a loop takes them.

    Args:
        start: what is trained, for people.
        lengths: see `parse_lengths`.
    """
    return [{"label": f"{start} at {100 * share:g} percent", "share": share} for share in parse_lengths(lengths)]
