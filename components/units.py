"""Durations as people write them: 90s, 30m, 24h, 7d."""

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Of each unit."""
