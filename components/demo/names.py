"""The names of the demo's releases, for who needs no more: making them needs PyTorch, which takes long to import."""

RELEASES = (
    "release-1",
    "release-2",
    "release-3",
    "release-4",
    "release-5",
    "release-1-instruct",
    "other-seed",
)
"""Bases in the order of their release, then the others (see `components.demo.releases`)."""
