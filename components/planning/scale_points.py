"""Which further λ a search tries, and on which suite."""

import re

from components.definitions import FOLDERS
from components.errors import BadParameter
from components.transfer import EVERY, Scale

FEWEST, MOST = 2, 5
LARGEST = 4.0
"""Four times the published method's λ: what a fine-tune learned is long overshot by then."""

_NUMBERS = re.compile(r"[0-9eE+. -]+(,[0-9eE+. -]+)*")


def search_points(text: str, scale: Scale) -> list[dict[str, str]]:
    """The points of a search: each λ as `scale`, and what its model is called as `role`; none for an empty text.

    Args:
        text: numbers with commas between.
        scale: λ of the main line, which is compared with the others and so is no point of its own.

    Raises:
        BadParameter: the numbers are not 2 to 5 different ones from 0 to 4, or the scale is not one number.
    """
    if not text:
        return []
    if not _NUMBERS.fullmatch(text):
        raise _bad(text, "is no list of numbers")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise _bad(text, "has a part that is no number") from None
    if any(glob != EVERY for glob, _ in scale.rules):
        raise BadParameter(
            f"scale_search is {text!r} while scale has rules by tensor name ({scale})",
            hint="give scale as one number, or leave scale_search empty",
        )
    main = scale.rules[0][1]
    if not FEWEST <= len(numbers) <= MOST:
        raise _bad(text, f"has {len(numbers)} of them")
    if any(not 0 < number <= LARGEST for number in numbers):
        raise _bad(text, f"has one that is not above 0 and at most {LARGEST:g}")
    if len({main, *numbers}) <= len(numbers):
        raise _bad(text, f"has one twice, or has {main:g}, which scale tries already")
    return [{"scale": repr(number), "role": f"recycled at λ {number:g}"} for number in numbers]


def quick_suite(name: str) -> str:
    """The quick sample of a suite that ships with one, else the suite itself."""
    quick = f"{name}-quick"
    return quick if (FOLDERS["evaluation suite"] / f"{quick}.yaml").is_file() else name


def _bad(text: str, problem: str) -> BadParameter:
    return BadParameter(
        f"scale_search is {text!r}, which {problem}",
        hint=f"give {FEWEST} to {MOST} further values of λ such as 0.5,0.75,1.25,1.5, or leave it empty",
    )
