"""Cron expressions: the five fields that people know, and when they come due.

KFP reads them with robfig/cron (version 1) as six fields, the first one seconds; of five it makes something else, which
fires every few seconds. What is checked here is what that reader takes (https://github.com/robfig/cron/blob/v1/parser.go).
"""

import re
from dataclasses import dataclass
from datetime import datetime

from croniter import CroniterBadDateError, croniter

from components.errors import BadParameter

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 6, DAYS),
)
"""Name, smallest and largest value, and names of values in their order."""
PART = re.compile(r"([*?]|\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Cron:
    """When something happens, to the minute."""

    text: str
    """Five fields."""

    @property
    def with_seconds(self) -> str:
        """The six fields that KFP takes."""
        return f"0 {self.text}"

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after a moment; None where there is none, as on February the 30th."""
        # croniter takes no ? in a step, and 5-5 for all values.
        text = re.sub(r"\b(\w+)-\1(/\d+)?(?!\w)", r"\1", self.text.replace("?", "*"))
        try:
            # Of the two kinds of days, one that begins with * leaves the other to decide alone, as robfig/cron has it.
            found: datetime = croniter(text, moment, implement_cron_bug=True).get_next(datetime)
        except CroniterBadDateError:
            return None
        return found


def parse_cron(text: str) -> Cron:
    """Read five fields.

    Raises:
        BadParameter: they are not five, or one of them is not what robfig/cron takes, or they name no day that comes.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise BadParameter(
            f"the cron expression {text!r} has {len(fields)} fields",
            hint="give five: minute, hour, day of the month, month, day of the week, such as '0 6 * * *' for "
            "every day at 06:00 UTC",
        )
    for field, (name, low, high, names) in zip(fields, FIELDS, strict=True):
        if not all(_is_taken(part, low, high, names) for part in field.split(",")):
            words = f", or {names[0]} to {names[-1]}" if names else ""
            raise BadParameter(
                f"{field!r} is no {name} in a cron expression",
                hint=f"write * or {low} to {high}{words}; several with commas, ranges as {low}-{high}, steps as */2",
            )
    cron = Cron(text=" ".join(fields))
    if cron.next_after(datetime(2024, 1, 1)) is None:
        raise BadParameter(f"the cron expression {text!r} never comes due", hint="name a day that exists")
    return cron


def _is_taken(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Whether robfig/cron reads this part of a field as one or more of its values."""
    match = PART.fullmatch(part)
    if match is None or (match[3] and int(match[3]) == 0):
        return False
    if match[1] in "*?":
        return not match[2]
    first = _value(match[1], low, names)
    return low <= first <= (_value(match[2], low, names) if match[2] else first) <= high


def _value(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isdigit() else -1
