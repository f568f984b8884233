"""Canonical JSON and the digests of it."""

import hashlib
import json
from typing import Any


def digest_of(document: Any) -> str:  # noqa: ANN401 - whatever JSON can say
    """sha256 over a document's canonical JSON."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def canonical_json(document: Any) -> bytes:  # noqa: ANN401 - whatever JSON can say
    """JSON in the one form that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
