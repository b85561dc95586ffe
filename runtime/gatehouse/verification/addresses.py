"""Which addresses a key may be used from: networks in CIDR notation against one address; it resolves no name."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def network(text: str) -> str | None:
    """`text` as a network in its one canonical form, None when it is none. A single address is a network of one.

    Host bits must be zero: `10.1.2.3/8` is more likely a slip than a wish for all of 10.0.0.0/8. An IPv4 network that is
    written as IPv6 (::ffff:192.0.2.0/120) becomes IPv4, as addresses do.
    """
    try:
        parsed = ipaddress.ip_network(text, strict=True)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.network_address.ipv4_mapped and parsed.prefixlen >= 96:
        parsed = ipaddress.IPv4Network((parsed.network_address.ipv4_mapped, parsed.prefixlen - 96))
    return str(parsed)


def allows(networks: Sequence[str], address: str) -> bool:
    """Whether `address` is in one of the networks (canonical, see `network`). False for what is no address."""
    parsed = _address(address)
    return parsed is not None and any(parsed in _network(one) for one in networks)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    """Parsing costs 8 us; records keep the text, which keys of one owner share, and not the objects."""
    return ipaddress.ip_network(text)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
