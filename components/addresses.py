"""Addresses that a server of ours never has."""

import ipaddress
import socket


def is_link_local(host: str) -> bool:
    """Whether a host, however its address is spelt, is one that clouds keep their machines' credentials at."""
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # connecting will tell
        return False
    addresses = [ipaddress.ip_address(text) for text in found]
    return any((getattr(address, "ipv4_mapped", None) or address).is_link_local for address in addresses)
