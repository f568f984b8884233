"""The HTML pages of reports: whatever a template prints is escaped, unless it is Markup."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.judging import interval, percent, points
from components.system import clean_text, one_line

TEMPLATES = Path(__file__).parent / "templates"

_HEX = re.compile(r"[0-9a-f]{32,}")


def render(template: str, **values: object) -> str:
    """Fill in a template: one page that asks for nothing outside itself and runs no script."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        # Unprintable characters become visible before Jinja escapes the text.
        finalize=lambda value: value if isinstance(value, Markup) else clean_text(str(value)),
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "interval": interval,
        "significant": _significant,
        "thousands": _thousands,
        "hex": _shorten_hex,
    }
    return environment


def _significant(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _thousands(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _shorten_hex(value: str) -> Markup:
    """Digests are shown short; their title, and what is copied, have all of them."""
    value = one_line(value)
    pieces: list[Markup | str] = []
    end = 0
    for match in _HEX.finditer(value):
        digest = Markup('<span class="hex" title="{}">{}</span>').format(match[0], match[0])
        pieces += [value[end : match.start()], digest]
        end = match.end()
    return Markup("").join([*pieces, value[end:]])
