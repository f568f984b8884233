import pytest

from components.errors import BadParameter
from components.units import parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 * 10**6),
        ("1.5GiB", 3 << 29),
        ("5Gi", 5 << 30),
        ("12", 12),
        ("7 b", 7),
        ("2k", 2000),
        ("1T", 10**12),
    ],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1PB", "1,5GB", "٣MB", "1e3"])
def test_what_is_no_size(text):
    with pytest.raises(BadParameter, match=r"RECYCLE_MEMORY is .*, which is not a size"):
        parse_bytes(text, "RECYCLE_MEMORY")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("2d", 172800), ("0s", 0), (" 7d ", 604800)]
)
def test_durations(text, seconds):
    assert parse_duration(text, "retry_after") == seconds


@pytest.mark.parametrize("text", ["", "12", "h", "-1h", "0h", "1.5h", "1w", "٣h"])
def test_what_is_no_duration(text):
    with pytest.raises(BadParameter, match="retry_after"):
        parse_duration(text, "retry_after", at_least=1)
