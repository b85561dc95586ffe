"""Client addresses, grouped by the network that one customer typically controls."""

from __future__ import annotations

import ipaddress


def network_of(address: str) -> str:
    """The address, or its /64 network for IPv6. `unknown` if it is not an IP address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else str(parsed)
