"""CIDR blocks of the three subnet tiers."""

import ipaddress

from components.settings.network import NetworkSettings

TIERS = {"edge": (0, 8), "data": (8, 8), "app": (1, 4)}
"""First block and additional prefix bits of each tier. In a /16, edge and data are /24 blocks of the first /20; app uses
the following /20 blocks."""


def tier_cidrs(network: NetworkSettings, tier: str) -> list[str]:
    """Return the CIDR blocks of a tier, one for each zone in the order of the settings."""
    first, bits = TIERS[tier]
    blocks = list(ipaddress.IPv4Network(network.cidr).subnets(prefixlen_diff=bits))
    return [str(block) for block in blocks[first : first + len(network.zones)]]
