"""IP addresses and networks as they are written, and as the kernel tells them."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_PREFIX = 96
MAX_ADDRESS_CHARS = 64
MAX_ADDRESSES = 1000
"""That are remembered: each request over HTTP has several to be read."""


def read_address(text: str) -> Address | None:
    """Read an address, None for a name; one mapped into IPv6 counts as the IPv4 address it is, its zone does not."""
    return _read_once(text) if len(text) <= MAX_ADDRESS_CHARS else None


@lru_cache(MAX_ADDRESSES)
def _read_once(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or IPv6Address(int(found))) if isinstance(found, IPv6Address) else found


def read_network(text: str) -> Network | None:
    """Read an address or a network, None for a name; one mapped into IPv6 counts as the IPv4 one it is."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is None or found.prefixlen < _MAPPED_PREFIX:
        return found
    return ip_network((mapped, found.prefixlen - _MAPPED_PREFIX), strict=False)


def is_loopback(text: str) -> bool:
    """Tell whether an address is one of this machine's own; a name is not."""
    found = read_address(text)
    return found is not None and found.is_loopback
