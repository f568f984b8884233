"""Keeps passwords and tokens out of what people read."""

import re
from collections.abc import Callable, Mapping

SECRET_NAME = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
MIN_SECRET_CHARACTERS = 6
"""Shorter values are no secrets, and masking them would garble ordinary words."""


def without_passwords(text: str) -> str:
    """The text, with the passwords of any addresses in it masked."""
    return URL_PASSWORD.sub(r"\1***@", text)


def masker(environment: Mapping[str, str]) -> Callable[[str], str]:
    """A function that masks passwords in addresses, and the values of variables named like secrets, in a text."""
    secrets = sorted(
        {
            value
            for name, value in environment.items()
            if SECRET_NAME.search(name) and not name.upper().endswith("_ID") and len(value) >= MIN_SECRET_CHARACTERS
        },
        key=len,
        reverse=True,
    )
    pattern = re.compile("|".join(map(re.escape, secrets))) if secrets else None

    def mask(text: str) -> str:
        text = without_passwords(text)
        return pattern.sub("***", text) if pattern else text

    return mask
