"""Text that others wrote, made fit to print."""

import re
import unicodedata
from collections.abc import Sequence

# Characters that reorder the text around them, and so can make it read as something else.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# Only at the start of a line do these open a heading, a list, a rule or a numbered list.
_MARKDOWN_START = re.compile(r"^(\d*)([#+=.)-])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def clean_text(text: str) -> str:
    """The text without what a reader cannot see: control characters become U+FFFD; newline and tab stay."""
    return "".join(character if _visible(character) else "\ufffd" for character in text.replace("\r\n", "\n"))


def _visible(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _REORDERING and unicodedata.category(character) not in ("Cc", "Cs")


def one_line(text: str) -> str:
    """The cleaned text with each line break shown as a sign."""
    return clean_text(text).strip().replace("\n", " ↵ ").replace("\t", " ")


def escape_markdown(text: str, *, starts_line: bool = True) -> str:
    """Text that a Markdown reader shows as it is: no markup, HTML or line break survives.

    Args:
        text: what is to be shown.
        starts_line: whether it may open a line, where a few more signs count; the cell of a table does not.
    """
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text))
    if starts_line:
        escaped = _MARKDOWN_START.sub(r"\1\\\2", escaped)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], escaped)


def text_table(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> str:
    """Columns as wide as they must be; those in `right` end flush."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(range(len(row)), row, widths, strict=True)
        return "  ".join(cell.rjust(width) if column in right else cell.ljust(width) for column, cell, width in cells)

    return "\n".join(line(row).rstrip() for row in rows)


def printable(text: str, instead: str = "?") -> str:
    """One line of text that a terminal shows as it is: what it would obey or reorder becomes `instead`."""
    # Names and origins may come from anyone, and a terminal obeys some characters.
    return "".join(letter if letter.isprintable() else instead for letter in text)
