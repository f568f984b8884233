"""Servers that must not be asked, and answers that come too slowly."""

import ipaddress
import socket
import time


def is_link_local(host: str) -> bool:
    """Whether a host, however its address is spelt, is one that clouds keep their machines' credentials at."""
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # connecting will tell
        return False
    addresses = [ipaddress.ip_address(text) for text in found]
    return any((getattr(address, "ipv4_mapped", None) or address).is_link_local for address in addresses)


MIN_BYTES_PER_S = 16 << 10
"""Bytes a second below which an answer is given up."""
WINDOW_S = 30.0
"""Seconds between two looks at the rate: a connection that slows down to a trickle is given up soon after."""


class MinimumThroughput:
    """Watches the rate at which the body of one answer comes; to be asked after each of its pieces."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._bytes = 0

    def is_too_slow(self, came: int) -> bool:
        """Whether, with these bytes more, less than MIN_BYTES_PER_S came in a window that ended."""
        self._bytes += came
        now = time.monotonic()
        passed = now - self._since
        if passed < WINDOW_S:
            return False
        too_slow = self._bytes < MIN_BYTES_PER_S * passed
        self._since, self._bytes = now, 0
        return too_slow
