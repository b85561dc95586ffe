"""The three subnet tiers, and which addresses of the VPC each of them has."""

import ipaddress

from components.settings.network import NetworkSettings

TIERS = {"edge": (0, 8), "data": (8, 8), "app": (1, 4)}
"""First block and prefix bits beyond the VPC's for each tier: edge and data are /24s in the first /20 of a /16, app are
the /20s after it."""


def tier_cidrs(network: NetworkSettings, tier: str) -> list[str]:
    """The address blocks of a tier, one for each zone in the order of the settings."""
    first, bits = TIERS[tier]
    blocks = list(ipaddress.IPv4Network(network.cidr).subnets(prefixlen_diff=bits))
    return [str(block) for block in blocks[first : first + len(network.zones)]]
