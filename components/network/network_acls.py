"""Network ACLs of the subnet tiers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.settings.data import CACHE_PORT, DATABASE_PORT
from components.settings.model import Settings
from components.settings.network import ANYWHERE, CORE_PORTS, TIERS

EPHEMERAL_PORTS = (1024, 65535)
"""Source ports of clients, NAT gateways and load balancers. Source: VPC User Guide, "Ephemeral
ports".
"""
REMOTE_ACCESS_PORTS = (22, 3389)
"""Ports of SSH and RDP. Traffic to these ports is always denied."""
EXTERNAL_EPHEMERAL_PORTS = ((1024, 3388), (3390, 65535))
"""Ephemeral ports for traffic from outside the VPC, except the RDP port."""


@dataclass(frozen=True)
class Rule:
    """A TCP rule for a port range and a CIDR block. The block is the source for inbound rules and
    the destination for outbound rules."""

    cidr: str
    from_port: int
    to_port: int
    action: str = "allow"


class NetworkAcls(StackComponent):
    """A network ACL for each tier. The data tier exchanges traffic with the app tier only; no tier
    accepts SSH or RDP.

    Why: Network ACLs are a second layer that is independent of the security groups. Network ACLs
    are stateless, so return traffic requires separate rules.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        vpc_id: pulumi.Input[str],
        subnets: Mapping[str, list[pulumi.Output[str]]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        for tier in TIERS:
            aws.ec2.NetworkAcl(
                tier,
                vpc_id=vpc_id,
                subnet_ids=list(subnets[tier]),
                ingress=_numbered(inbound_rules(tier, self.settings)),
                egress=_numbered(outbound_rules(tier, self.settings)),
                tags=self.named(tier),
                opts=self.child,
            )
        self.register_outputs({})


def _numbered(rules: Iterator[Rule]) -> list[aws.ec2.NetworkAclIngressArgsDict]:
    return [
        {
            "rule_no": number * 10,
            "action": rule.action,
            "protocol": "tcp",
            "cidr_block": rule.cidr,
            "from_port": rule.from_port,
            "to_port": rule.to_port,
        }
        for number, rule in enumerate(rules, start=1)
    ]


def inbound_rules(tier: str, settings: Settings) -> Iterator[Rule]:
    """Yield the inbound rules of a tier in evaluation order. All other traffic is denied.

    Traffic inside the VPC is allowed before the remote access ports are denied. Return traffic from
    outside the VPC to a connection with source port 3389 is dropped, and the client retries from
    another port.
    """
    network = settings.network
    if tier == "data":
        yield from (
            Rule(cidr, port, port)
            for cidr in network.tier_cidrs("app")
            for port in (DATABASE_PORT, CACHE_PORT)
        )
        # Replication between the nodes of the cache.
        for cidr in network.tier_cidrs("data"):
            yield from (Rule(cidr, CACHE_PORT, CACHE_PORT), Rule(cidr, *EPHEMERAL_PORTS))
        return
    yield Rule(network.cidr, *EPHEMERAL_PORTS)
    yield from (Rule(ANYWHERE, port, port, "deny") for port in REMOTE_ACCESS_PORTS)
    if tier == "edge":
        # Allows clients and, on port 443, traffic from the app tier to the NAT gateways.
        yield from (Rule(ANYWHERE, port, port) for port in (443, 80))
    else:
        # Interface endpoints are in the app tier. The internal load balancer receives requests of
        # CloudFront, whose addresses are not documented to be in the VPC; its security group allows
        # only CloudFront.
        sources = (ANYWHERE,) if settings.services.cloudfront else network.tier_cidrs("app")
        yield from (Rule(cidr, 443, 443) for cidr in sources)
    yield from (Rule(ANYWHERE, *ports) for ports in EXTERNAL_EPHEMERAL_PORTS)


def outbound_rules(tier: str, settings: Settings) -> Iterator[Rule]:
    """Yield the outbound rules of a tier. All other traffic is denied."""
    network = settings.network
    if tier == "data":
        yield from (
            Rule(cidr, *EPHEMERAL_PORTS)
            for tier in ("app", "data")
            for cidr in network.tier_cidrs(tier)
        )
        return
    yield Rule(ANYWHERE, 443, 443)
    if tier == "edge" or settings.services.cloudfront:
        yield Rule(ANYWHERE, *EPHEMERAL_PORTS)
    if tier == "edge":
        return
    yield Rule(network.cidr, *EPHEMERAL_PORTS)
    yield from (Rule(cidr, *CORE_PORTS) for cidr in network.core_networks)
