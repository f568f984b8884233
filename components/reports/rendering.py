"""The Jinja environments of reports: whatever a template prints is escaped, unless it is Markup."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.judging import Estimate, wording
from components.system import clean_text, escape_markdown, one_line

TEMPLATES = Path(__file__).parent / "templates"

_HEX = re.compile(r"[0-9a-f]{32,}")


def html(**given: object) -> Environment:
    """For HTML: Jinja's own escaping, after unprintable characters are made visible.

    Args:
        given: what the templates can use besides.
    """
    return _environment(given, clean_text, autoescape=True)


def markdown(**given: object) -> Environment:
    """For Markdown: every printed value goes through `escape_markdown`, which escapes HTML too."""
    return _environment(given, escape_markdown, autoescape=False)


def _environment(given: Mapping[str, object], escape: Callable[[str], str], *, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=autoescape,  # noqa: S701 - what is printed is escaped by `escape` where this is off
        finalize=lambda value: value if isinstance(value, Markup) else escape(str(value)),
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "interval": _interval,
        "significant": _significant,
        "thousands": _thousands,
        "first_upper": _first_upper,
        "fence": _fence,
        "hex": _shorten_hex,
    }
    environment.globals |= given
    return environment


def _percent(value: float) -> Markup:
    return Markup("{}").format(wording.percent(value))


def _points(value: float) -> Markup:
    return Markup("{}").format(wording.points(value))


def _interval(value: Estimate) -> Markup:
    return Markup("{}").format(wording.interval(value))


def _significant(value: float) -> Markup:
    return Markup("{}").format(f"{value:.3g}".replace("-", "−"))


def _thousands(value: int) -> Markup:
    return Markup("{}").format(f"{value:,}".replace(",", "\u202f"))


def _first_upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _fence(code: str, language: str) -> Markup:
    """A Markdown code block that nothing in `code` can close."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    # Inside the fence Markdown shows text as it is: escaping would be shown too.
    return Markup(f"{ticks}{language}\n{code}\n{ticks}")  # noqa: S704


def _shorten_hex(value: str) -> Markup:
    """Digests shown short, kept whole in the title and in what is copied."""
    value = one_line(value)
    pieces: list[Markup | str] = []
    end = 0
    for match in _HEX.finditer(value):
        digest = Markup('<span class="hex" title="{}">{}</span>').format(match[0], match[0])
        pieces += [value[end : match.start()], digest]
        end = match.end()
    return Markup("").join([*pieces, value[end:]])
