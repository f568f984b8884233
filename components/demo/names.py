"""The names of the demo's releases, for who needs no more: making them needs PyTorch, which takes long to import."""

BASES = ("release-1", "release-2", "release-3", "release-4", "release-5", "other-seed")
"""In the order of their release, the last of another family."""
RELEASES = (*BASES[:5], "release-1-instruct", "other-seed")
"""Everything that can be made (see `components.demo.releases`)."""
