import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.judging.wording import percent, points
from components.system.text import clean_text, escape_markdown, one_line


@pytest.mark.parametrize(
    ("value", "shown"), [(0.9012, "+90.1"), (-0.02, "−2.0"), (0.0, "0.0"), (-0.0004, "0.0"), (0.0004, "0.0")]
)
def test_points_have_a_sign_only_when_they_are_not_0(value, shown):
    assert points(value) == shown


def test_percent():
    assert percent(0.8958) == "89.6"


def test_unseen_characters_become_visible():
    assert clean_text("a\x1b[31mb\r\nc\u202ed\ud800\te") == "a\ufffd[31mb\nc\ufffdd\ufffd\te"
    assert one_line(" a\n b\tc ") == "a ↵  b c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("OLMo-2-1124-7B", "OLMo-2-1124-7B"),
        ("a|b", "a\\|b"),
        ("`x` *y* _z_ ~~s~~ $m$", "\\`x\\` \\*y\\* \\_z\\_ \\~\\~s\\~\\~ \\$m\\$"),
        ("[a](b) ![c](d)", "\\[a\\](b) !\\[c\\](d)"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("# h", "\\# h"),
        ("- i", "\\- i"),
        ("12. i", "12\\. i"),
        ("\\|", "\\\\\\|"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert escape_markdown(text) == shown


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="\\|`*_[]<>&~$#-+=1.) \n\tab", max_size=30))
def test_markdown_can_be_read_back_and_never_leaves_its_line(text):
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", escaped)) == 0
    read = re.sub(r"\\([\\|`*_\[\]~$#+=.)-])", r"\1", escaped)
    assert read.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == one_line(text)
