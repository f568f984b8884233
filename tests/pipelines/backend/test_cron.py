from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import BadParameter
from pipelines.backend.cron import parse_cron

START = datetime(2026, 11, 25, 22, 44, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("* * * * *", "2026-11-25 22:45"),
        ("0 6 * * *", "2026-11-26 06:00"),
        ("30 22 * * *", "2026-11-26 22:30"),
        ("*/15 * * * *", "2026-11-25 22:45"),
        ("50/5 * * * *", "2026-11-25 22:50"),
        ("0 6 * * mon-fri", "2026-11-26 06:00"),
        ("0 6 * * 0", "2026-11-29 06:00"),
        ("0 6 * * SUN,sat", "2026-11-28 06:00"),
        ("0 0 1 * ?", "2026-12-01 00:00"),
        ("0 0 1 jan *", "2027-01-01 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 0 13 * fri", "2026-11-27 00:00"),  # either will do
        ("0 0 */2 * fri", "2026-11-27 00:00"),  # both must be, for the first one begins with *
        ("1,3-5 0 * * *", "2026-11-26 00:01"),
    ],
)
def test_the_next_time(text, due):
    cron = parse_cron(text)
    assert cron.next_after(START).strftime("%Y-%m-%d %H:%M") == due
    assert cron.with_seconds == f"0 {text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("60 * * * *", "no minute"),
        ("* 24 * * *", "no hour"),
        ("* * 0 * *", "no day of the month"),
        ("* * * 13 *", "no month"),
        ("* * * * 7", "no day of the week"),
        ("* * * * day", "no day of the week"),
        ("5-1 * * * *", "no minute"),
        ("*/0 * * * *", "no minute"),
        ("*-3 * * * *", "no minute"),
        ("1, * * * *", "no minute"),
        ("-1 * * * *", "no minute"),
        ("² * * * *", "no minute"),
        ("0 0 30 2 *", "never comes due"),
    ],
)
def test_what_is_none(text, told):
    with pytest.raises(BadParameter, match=told):
        parse_cron(text)


def fields(low, high):
    value = st.integers(low, high)
    spans = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    return st.lists(st.one_of(value.map(str), spans), min_size=1, max_size=3).map(",".join) | steps | st.just("*")


def values(field, high):
    """What a field means, by another way than the one that is tested."""
    if field.startswith("*"):
        return set(range(0, high + 1, int(field.partition("/")[2] or 1)))
    ends = [[int(end) for end in part.split("-")] for part in field.split(",")]
    return {value for span in ends for value in range(span[0], span[-1] + 1)}


@settings(max_examples=60, deadline=None)
@given(minute=fields(0, 59), hour=fields(0, 23), weekday=fields(0, 6))
def test_no_time_between_is_left_out(minute, hour, weekday):
    cron = parse_cron(f"{minute} {hour} * * {weekday}")
    due = cron.next_after(START)
    minutes, hours, weekdays = values(minute, 59), values(hour, 23), values(weekday, 6)

    def fits(moment):
        return moment.minute in minutes and moment.hour in hours and moment.isoweekday() % 7 in weekdays

    assert fits(due)
    moment = START.replace(second=0) + timedelta(minutes=1)
    while moment < due:
        assert not fits(moment)
        moment += timedelta(minutes=1)
