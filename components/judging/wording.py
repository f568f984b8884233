"""How scores and differences are written for people."""

from components.judging.paired import Estimate


def percent(value: float) -> str:
    """A score in percent, without the sign: 0.9012 is `90.1`."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """A difference in percentage points: 0.9012 is `+90.1`, -0.02 is `−2.0`."""
    size = f"{abs(100 * value):.1f}"
    if size == "0.0":
        return size
    return f"{'+' if value > 0 else '−'}{size}"


def interval(estimate: Estimate) -> str:
    """The interval of a difference, in points."""
    return f"{points(estimate.low)} to {points(estimate.high)}"
