"""IP addresses and networks: client addresses behind trusted proxies, and the client networks that
a key allows. Pure.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
#: Longer text is truncated, because texts are cached.
_CHARS_MAX = 64

#: Maximum number of entries of X-Forwarded-For that are read, beginning with the last.
HOPS_MAX = 32


class ClientAddresses:
    """Determines client addresses behind proxies from the X-Forwarded-For header.

    Each proxy appends the address of its peer. A trusted proxy has therefore written the last
    address, and the client can have written all addresses before it, whatever network the last one
    is in. Only a proxy in front of the trusted proxies, an outer proxy, has written a further one.
    Source: RFC 7239, section 8.1.

    trusted: networks of the proxies that connect to the service.
    outer: networks of the proxies in front of them.
    """

    def __init__(self, trusted: Sequence[Network], outer: Sequence[Network] = ()) -> None:
        self._trusted, self._outer = tuple(trusted), tuple(outer)
        self._known: dict[str, bool] = {}

    def trusts(self, peer: str) -> bool:
        """True if the peer of a connection is a trusted proxy."""
        known = self._known.get(peer)
        if known is None:
            known = _is_in(peer, self._trusted)
            if len(self._known) < 10_000:
                self._known[peer] = known
        return known

    def client(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """Determines the address of a client. `forwarded_for`: values of all X-Forwarded-For
        headers, in order.
        """
        if not self._trusted or not self.trusts(peer):
            return peer
        hops = ",".join(forwarded_for).rsplit(",", HOPS_MAX)[-HOPS_MAX:]
        for hop in filter(None, map(str.strip, reversed(hops))):
            # A zone is only valid on the machine of the proxy.
            hop = hop.partition("%")[0][:_CHARS_MAX]
            # An IPv4 address has only this form, and parsing it takes longer.
            address = hop if _IPV4.fullmatch(hop) else parse_address(hop)
            if address is None:
                return peer  # this entry and all entries before it are ignored
            peer = str(address)
            if not self._outer or not _is_in(peer, self._outer):
                return peer
        return peer


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = parse_address(address)
    return parsed is not None and any(
        parsed.version == network.version and parsed in network for network in networks
    )


def is_address(text: str) -> bool:
    """True if `parse_address` accepts the text. Takes a fraction of the time for IPv4."""
    return _IPV4.fullmatch(text) is not None or parse_address(text) is not None


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Parses an address. Converts an IPv4-mapped IPv6 address, which a dual-stack socket reports
    for an IPv4 client, to IPv4. Returns None for malformed text."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


@lru_cache(maxsize=4096)
def network_of(address: str, *, v4: int = 32, v6: int = 64) -> str:
    """The network of an address with these prefix lengths, or the address itself for /32. `unknown`
    if the text is not an IP address."""
    parsed = parse_address(address)
    if parsed is None:
        return "unknown"
    length = v4 if parsed.version == 4 else v6
    return (
        str(parsed) if length == 32 else str(ipaddress.ip_network((parsed, length), strict=False))
    )


def network(text: str) -> str | None:
    """`text` as a network in canonical form, or None if `text` is not a network. A single address
    becomes a network of one address.

    Host bits must be zero, because `10.1.2.3/8` is more likely a mistake than a request for
    10.0.0.0/8. An IPv4-mapped network (::ffff:192.0.2.0/120) becomes an IPv4 network.
    """
    try:
        parsed = ipaddress.ip_network(text, strict=True)
    except ValueError:
        return None
    if (
        isinstance(parsed, ipaddress.IPv6Network)
        and parsed.network_address.ipv4_mapped
        and parsed.prefixlen >= 96
    ):
        parsed = ipaddress.IPv4Network((parsed.network_address.ipv4_mapped, parsed.prefixlen - 96))
    return str(parsed)


def allows(networks: Sequence[str], address: str) -> bool:
    """True if `address` is in one of the canonical networks. False for a malformed address."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in _network(text) for text in networks)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    # Parsing takes 8 us. Records store the text, which the keys of an owner share, instead of the
    # parsed objects.
    return ipaddress.ip_network(text)
