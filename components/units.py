"""Sizes and durations as people write them: `512MB`, `1.5GiB`, `5Gi`; `90s`, `30m`, `24h`, `7d`.

parse_bytes("1.5GiB")      # 1610612736
parse_duration("12h")      # 43200 seconds
"""

import re

from components.errors import BadParameter

BYTES = {"B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for base, endings in ((10**3, ("", "B")), (2**10, ("I", "IB")))
    for ending in endings
}
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_bytes(text: str, name: str = "the memory") -> int:
    """The number of bytes in a size such as `512MB`, `1.5GiB`, Kubernetes' `5Gi`, or a plain number.

    Args:
        text: the size; upper and lower case mean the same.
        name: what it is the size of, for the message of an error.

    Raises:
        BadParameter: the text is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?B?|B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise BadParameter(f"{name} is {text[:80]!r}, which is not a size", hint="give a size such as 512MB or 2GiB")
    return int(float(match[1]) * BYTES[(match[2] or "B").upper()])


def parse_duration(text: str, name: str, *, at_least: int = 0) -> int:
    """The number of seconds in a duration such as `90s`, `30m`, `12h` or `7d`.

    Args:
        text: the duration: a whole number and one letter.
        name: what it is the duration of, for the message of an error.
        at_least: seconds that it must have.

    Raises:
        BadParameter: the text is not a duration, or too short a one.
    """
    match = re.fullmatch(r"(\d{1,7})([smhd])", text.strip(), re.ASCII)
    seconds = int(match[1]) * SECONDS[match[2]] if match else -1
    if seconds < at_least:
        raise BadParameter(
            f"{name} is {text[:80]!r}, which is not a duration", hint="give a duration such as 30m, 12h or 7d"
        )
    return seconds
