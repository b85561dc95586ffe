"""Determines client addresses behind trusted proxies, and the networks of these addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddresses:
    """Determines client addresses behind trusted proxies from the X-Forwarded-For header.

    Each proxy appends the address of its peer. The client is therefore the last address that is not a trusted proxy; the client
    can forge all addresses before it. Source: RFC 7239, section 8.1.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._known: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            known = self._check(address)
            if len(self._known) < 10_000:
                self._known[address] = known
        return known

    def client(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """Determines the address of a client. `forwarded_for`: values of all X-Forwarded-For headers, in order."""
        if not self._trusted or not self.trusts(peer):
            return peer
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",") if hop.strip()]
        for hop in reversed(hops):
            address = parse_address(hop)
            if address is None:
                return peer  # not an IP address, so this entry and all entries before it are ignored
            peer = str(address)
            if not self.trusts(peer):
                return peer
        return peer

    def _check(self, address: str) -> bool:
        parsed = parse_address(address)
        return parsed is not None and any(parsed.version == network.version and parsed in network for network in self._trusted)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Parses an address. Converts an IPv4-mapped IPv6 address, which a dual-stack socket reports for an IPv4 client, to IPv4.
    Returns None for malformed text."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


@lru_cache(maxsize=4096)
def network_of(address: str, *, v4: int = 32, v6: int = 64) -> str:
    """The network of an address with these prefix lengths, or the address itself for /32. `unknown` if the text is not an IP
    address."""
    parsed = parse_address(address)
    if parsed is None:
        return "unknown"
    length = v4 if parsed.version == 4 else v6
    return str(parsed) if length == 32 else str(ipaddress.ip_network((parsed, length), strict=False))
