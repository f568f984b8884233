"""Figures and other people's text, made fit to print."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from components.paired import Estimate

# Characters that reorder the text around them, and so can make it read as something else.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# Only at the start of a line do these open a heading, a list, a rule or a numbered list.
_MARKDOWN_START = re.compile(r"^(\d*)([#+=.)-])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


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


def clean(text: str) -> str:
    """The text without what a reader cannot see: control characters become U+FFFD; newline and tab stay."""
    return "".join(character if _visible(character) else "\ufffd" for character in text.replace("\r\n", "\n"))


def _visible(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _REORDERING and unicodedata.category(character) not in ("Cc", "Cs")


def one_line(text: str) -> str:
    """The cleaned text with each line break shown as a sign."""
    return clean(text).strip().replace("\n", " ↵ ").replace("\t", " ")


def markdown(text: str) -> str:
    """Text that a Markdown reader shows as it is, inside a table cell too: no markup, HTML or line break survives."""
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text))
    escaped = _MARKDOWN_START.sub(r"\1\\\2", escaped)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], escaped)


@dataclass(frozen=True, kw_only=True)
class Clipped:
    """A text that may be too long to show whole."""

    short: str
    """The text itself when it is short, else its beginning and its end."""
    full: str
    """Up to the limit of what a report carries."""

    @property
    def is_clipped(self) -> bool:
        """Whether `short` leaves something out."""
        return self.short != self.full


def clip(text: str, *, shown: int = 320, kept: int = 20_000) -> Clipped:
    """Cut a text to about `shown` characters, and its full form to `kept`.

    The end stays, since a reply that reasons ends with its answer, and a prompt with examples with its question.
    """
    full = clean(text).strip()
    if len(full) > kept:
        full = f"{full[:kept]} … ({len(full) - kept} characters more)"
    if len(full) <= shown:
        return Clipped(short=full, full=full)
    tail = shown // 3
    return Clipped(short=f"{full[: shown - tail].rstrip()} … {full[-tail:].lstrip()}", full=full)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells as a table for a terminal: names flush left, figures flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines) + "\n"
