"""Text that others wrote, made fit to print."""

import re
import unicodedata

# Characters that reorder the text around them, and so can make it read as something else.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# Only at the start of a line do these open a heading, a list, a rule or a numbered list.
_MARKDOWN_START = re.compile(r"^(\d*)([#+=.)-])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


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
