"""Cron expressions: the five fields that people know, and when they come due.

KFP reads them with robfig/cron (version 1) as six fields, the first one seconds; of five it makes something else, which
fires every few seconds. What is checked here is what that reader takes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

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
YEARS = 8
"""Within which every day of a calendar comes, February the 29th too."""


@dataclass(frozen=True, kw_only=True)
class Cron:
    """When something happens, to the minute."""

    text: str
    """Five fields."""
    values: tuple[frozenset[int], ...]
    """Of each field."""
    any_day: tuple[bool, bool]
    """Whether the day of the month, and that of the week, begin with `*`, so that the other alone decides."""

    @property
    def with_seconds(self) -> str:
        """As KFP takes it."""
        return f"0 {self.text}"

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after a moment; None where there is none, as on February the 30th."""
        minutes, hours, _, months, _ = self.values
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(366 * YEARS):
            if day.month in months and self._on(day):
                for hour in sorted(hours):
                    for minute in sorted(minutes):
                        if (found := day.replace(hour=hour, minute=minute)) > moment:
                            return found
            day += timedelta(days=1)
        return None

    def _on(self, day: datetime) -> bool:
        by_date, by_weekday = day.day in self.values[2], day.isoweekday() % 7 in self.values[4]
        # With both restricted, either will do; this is what cron has always done.
        return by_date and by_weekday if any(self.any_day) else by_date or by_weekday


def parse_cron(text: str) -> Cron:
    """Read five fields.

    Raises:
        BadParameter: they are not five, or one of them is not what robfig/cron takes, or they name no day that comes.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise BadParameter(
            f"the cron expression {text!r} has {len(fields)} fields",
            hint="give five: minute, hour, day of the month, month, day of the week, such as '0 6 * * *' for six "
            "o'clock UTC every day",
        )
    values = tuple(_field(field, *kind) for field, kind in zip(fields, FIELDS, strict=True))
    cron = Cron(text=" ".join(fields), values=values, any_day=(fields[2][0] in "*?", fields[4][0] in "*?"))
    if cron.next_after(datetime(2024, 1, 1)) is None:
        raise BadParameter(f"the cron expression {text!r} never comes due", hint="name a day that there is")
    return cron


def _field(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        values = _part(part, low, high, names)
        if not values:
            words = f", or {names[0]} to {names[-1]}" if names else ""
            raise BadParameter(
                f"{text!r} is no {name} in a cron expression",
                hint=f"write * or {low} to {high}{words}; several with commas, ranges as {low}-{high}, steps as */2",
            )
        found.update(values)
    return frozenset(found)


def _part(text: str, low: int, high: int, names: tuple[str, ...]) -> Iterable[int]:
    match = re.fullmatch(r"([*?]|\w+)(?:-(\w+))?(?:/(\d+))?", text)
    if match is None or (match[1] in "*?" and match[2]):
        return ()
    step = int(match[3] or 1)
    if match[1] in "*?":
        first, last = low, high
    else:
        first = _value(match[1], low, names)
        # A single value with a step goes on to the end.
        last = _value(match[2], low, names) if match[2] else high if match[3] else first
    return range(first, last + 1, step) if step and low <= first <= last <= high else ()


def _value(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isascii() and text.isdigit() else -1
