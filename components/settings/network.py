"""Settings of the VPC, the load balancer and the web ACL."""

import ipaddress
from typing import Annotated

from components.settings.fields import (
    Flag,
    Production,
    Section,
    by_environment,
    by_profile,
    choice,
    integer,
    optional,
    prod_requires,
    string,
    strings,
)

CIDR = r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}"
IPV4_NETWORK = rf"{CIDR}/\d{{1,2}}"
PRIVATE_NETWORKS = strings(IPV4_NETWORK, 0, 10, "IPv4 networks")
NETWORKS = strings(
    rf"{IPV4_NETWORK}|[0-9a-f:]*:[0-9a-f:]*/\d{{1,3}}", 0, 100, "IPv4 or IPv6 networks"
)
CORE_PORTS = (1024, 65535)
"""Ports on which the gateway connects to `core_networks`. It connects to public IP addresses only
on port 443."""
ANYWHERE = "0.0.0.0/0"
PUBLIC_ADDRESSES = "public_addresses"
TIERS = {"edge": 0, "data": 8, "app": 1}
"""First block of each subnet tier. In a /16, edge and data are /24 blocks of the first /20; app
uses the following /20 blocks. In smaller networks, the blocks are smaller, with at least 64
addresses."""
SMALL_TIERS = {"app": (26, 0), "edge": (27, 8), "data": (27, 12)}
"""Prefix length and first block of each subnet tier in a network smaller than /20. A load balancer
requires a /27 (Elastic Load Balancing User Guide, "Subnets for your load balancer", read
2026-11-29)."""
SUBNETS = strings(r"subnet-[0-9a-f]{8,17}", 0, 3, "subnet IDs")
REQUESTS = integer(100, 2_000_000, "requests in five minutes from one IP address")


class SubnetsSettings(Section):
    """Existing subnets of `existing_resources.vpc_id`, in the order of `network.zones`. The stack
    then creates no subnets, routes, network ACLs, gateway endpoints or flow logs."""

    edge: Annotated[tuple[str, ...], SUBNETS] = ()
    """Subnets of the load balancer."""
    app: Annotated[tuple[str, ...], SUBNETS] = ()
    """Subnets of the tasks, with routes to AWS services."""
    data: Annotated[tuple[str, ...], SUBNETS] = ()
    """Subnets of the database and the cache."""


class NetworkSettings(Section):
    """The VPC and its three subnet tiers."""

    cidr: Annotated[
        str,
        string(
            rf"({CIDR}/(1[6-9]|2[0-3]))?", 'an IPv4 network from /16 to /23, such as "10.20.0.0/16"'
        ),
    ] = ""
    """IPv4 CIDR block of the VPC. It must not overlap with peered networks and cannot be changed in
    place. Required without `network.subnets`, whose blocks are read."""
    zones: Annotated[
        tuple[str, ...],
        strings(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", 2, 3, "Availability Zones of the region"),
    ]
    """Availability Zones of the subnets. The stack tolerates the loss of one zone."""
    nat: Annotated[
        str,
        choice("none", "one", "per_zone", PUBLIC_ADDRESSES),
        Production(
            "none or per_zone; a single NAT gateway fails if its zone fails",
            lambda nat: nat in ("none", "per_zone"),
        ),
    ] = by_environment("one", "one", "per_zone", small=PUBLIC_ADDRESSES)
    """NAT gateways for the app tier: `none` (no internet access), `one`, or `per_zone` (tolerates
    the loss of a zone). With `public_addresses`, tasks have public IP addresses instead; their
    security groups accept connections from the load balancer only."""
    endpoint_zones: Annotated[
        str,
        choice("none", "one", "all"),
        Production(
            "all, or none; an endpoint in one zone fails if the zone fails",
            lambda zones: zones != "one",
        ),
    ] = by_environment("one", "all", "all", small="none")
    """Zones with interface VPC endpoints: `one`, or `all` (tolerates the loss of a zone). With
    `none`, tasks reach AWS services over the internet, with TLS."""
    public_access_exclusions: Flag = True
    """Excludes the subnets of an internet-facing load balancer from VPC Block Public Access.
    Disable it if your organization forbids exclusions and does not block public access."""
    subnets: SubnetsSettings
    core_networks: Annotated[tuple[str, ...], PRIVATE_NETWORKS] = ()
    """Private networks in which a registered Core may have its IP address. The gateway connects to
    them on ports from 1024. Public IP addresses are always allowed, on port 443."""

    @property
    def owns_subnets(self) -> bool:
        """Return whether the stack creates its subnets."""
        return not self.subnets.app

    def tier_cidrs(self, tier: str) -> list[str]:
        """Return the CIDR blocks of a tier of own subnets, one for each zone in the order of
        `zones`."""
        network, first = ipaddress.IPv4Network(self.cidr), TIERS[tier]
        if network.prefixlen > 20:
            prefix, first = SMALL_TIERS[tier]
            small = list(network.subnets(new_prefix=prefix))
            return [str(block) for block in small[first : first + len(self.zones)]]
        bits = min(8, 26 - network.prefixlen)
        blocks = list(network.subnets(prefixlen_diff=bits - 4 if tier == "app" else bits))
        return [str(block) for block in blocks[first : first + len(self.zones)]]

    @property
    def nat_count(self) -> int:
        return {"one": 1, "per_zone": len(self.zones)}.get(self.nat, 0)

    @property
    def has_public_tasks(self) -> bool:
        return self.nat == PUBLIC_ADDRESSES


class LoadBalancerSettings(Section):
    """The Application Load Balancer."""

    grpc: Flag = False
    """Forward gRPC requests for Cores, which the header `Content-Type` identifies, with HTTP/2. All
    other requests are forwarded with HTTP/1.1. Requires Cores with the setting `http2`."""
    internal: Flag = False
    """Gives the load balancer private addresses only, for clients in `client_networks`. The
    synthetic probe and the smoke test then run in the app subnets, and without NAT gateways the
    stack has no internet gateway. A change replaces the load balancer."""
    client_networks: Annotated[tuple[str, ...], PRIVATE_NETWORKS] = ()
    """Private networks from which an internal load balancer accepts requests."""
    private_ca: Annotated[
        str | None,
        optional(
            r"(?s)\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+",
            "one or more certificates in PEM",
        ),
    ] = None
    """The private CA of `existing_resources.certificate_arn`, which the synthetic probe and the
    smoke test then trust."""


class WafSettings(Section):
    """Rate limits of the AWS WAF web ACL. AWS WAF responds to requests over a limit with status
    code 429.
    """

    enabled: Annotated[Flag, prod_requires(True)] = by_profile(True, small=False)
    """Creates the web ACLs."""
    requests_max: Annotated[int, REQUESTS] = by_environment(20_000, 50_000, 200_000)
    """Maximum requests from one IP address to all services in five minutes."""
    console_requests_max: Annotated[int, REQUESTS] = by_environment(2_000, 5_000, 20_000)
    """Maximum requests from one IP address to the console in five minutes."""
    console_networks: Annotated[tuple[str, ...], NETWORKS] = ()
    """Networks from which requests to the console are accepted, such as those of your VPN and of
    pipelines. Other requests, except health checks, receive 403. If empty, all are accepted.
    """
    sharing_requests_max: Annotated[int, REQUESTS] = by_environment(1_000, 1_000, 2_000)
    """Maximum requests from one IP address to the sharing service in five minutes. A low
    limit slows down attempts to guess links."""

    def service_requests_max(self) -> dict[str, int]:
        """Return the rate limit of each service that has a separate limit."""
        return {"console": self.console_requests_max, "sharing": self.sharing_requests_max}
