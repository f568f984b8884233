"""What the distance between two bases says about moving a diff vector from one to the other."""

NEAR = 0.3
"""‖M_t − M_s‖ / ‖M_s‖ within which transfer worked in the demo world; bases trained 0.3 apart gave 0 to 10 %."""
UNRELATED = 0.7
"""Half of what independent models of one kind have, which is about √2."""


def warning(gap: float) -> str:
    """Why a relative gap speaks against a transfer, empty where it does not."""
    if gap == 0:
        return "No difference was found between the two bases: check that the target is a newer release."
    if gap >= UNRELATED:
        return (
            f"The two bases look unrelated: their relative gap ‖M_t − M_s‖/‖M_s‖ is {gap:.2f}, and models trained "
            "apart have about 1.41. A diff vector does not carry over between unrelated models."
        )
    if gap >= NEAR:
        return f"The two bases are far apart: their relative gap ‖M_t − M_s‖/‖M_s‖ is {gap:.2f}. Transfer may fail."
    return ""
