"""λ, the scale of the diff vector."""

import math

from components.errors import BadParameter


def parse_scale(text: str) -> float:
    """Read λ.

    Raises:
        BadParameter: it is not a finite number.
    """
    try:
        scale = math.nan if "_" in text else float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise BadParameter(f"scale is {text!r}, which is not a finite number", do="give a number such as 1.0")
    return scale
