"""Long texts, made short enough for a page."""

from dataclasses import dataclass

from components.system import clean_text

LONGEST = 20_000
"""Characters of one text that a report carries."""


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


def clip(text: str, *, shown: int = 320) -> Clipped:
    """Cut a text to about `shown` characters, and its full form to LONGEST.

    The end stays, since a reply that reasons ends with its answer, and a prompt with examples with its question.
    """
    full = clean_text(text).strip()
    if len(full) > LONGEST:
        full = f"{full[:LONGEST]} … ({len(full) - LONGEST} characters more)"
    if len(full) <= shown:
        return Clipped(short=full, full=full)
    tail = shown // 3
    return Clipped(short=f"{full[: shown - tail].rstrip()} … {full[-tail:].lstrip()}", full=full)
