"""Allowed client addresses of a key: CIDR networks compared with one address. Does no DNS lookup."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def network(text: str) -> str | None:
    """`text` as a network in canonical form; None if it is not one. A single address becomes a network of one address.

    Host bits must be zero, because `10.1.2.3/8` is more likely a mistake than a request for 10.0.0.0/8. An IPv4-mapped network
    (::ffff:192.0.2.0/120) becomes an IPv4 network, as addresses do.
    """
    try:
        parsed = ipaddress.ip_network(text, strict=True)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.network_address.ipv4_mapped and parsed.prefixlen >= 96:
        parsed = ipaddress.IPv4Network((parsed.network_address.ipv4_mapped, parsed.prefixlen - 96))
    return str(parsed)


def allows(networks: Sequence[str], address: str) -> bool:
    """True if `address` is in one of the canonical networks. False for a malformed address."""
    parsed = _address(address)
    return parsed is not None and any(parsed in _network(text) for text in networks)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    # Parsing takes 8 us. Records store the text, which keys of one owner share, instead of the parsed objects.
    return ipaddress.ip_network(text)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
