"""Which source this is: it tells whether a pipeline and the image of its steps were made of the same."""

import hashlib
from functools import cache
from pathlib import Path

LENGTH = 12
"""Hex digits: enough to tell sources apart, short enough for each pod to carry."""


@cache
def source_digest() -> str:
    """The beginning of a SHA-256 over the modules of `components`, which are what steps run."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:LENGTH]
