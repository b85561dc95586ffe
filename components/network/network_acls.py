"""The network ACLs: for each tier, which packets may enter and leave its subnets, whatever a security group says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.naming import Naming
from components.network.subnets import TIERS, tier_cidrs
from components.settings.network import NetworkSettings
from components.tags import tags

ANYWHERE = "0.0.0.0/0"
REPLIES = (1024, 65535)
"""Ports from which clients, NAT gateways and load balancers open connections (VPC user guide, "Ephemeral ports")."""
CLOSED = (22, 3389)
"""Administration (SSH, RDP): nothing of ours listens there, and nothing may ever do so by mistake."""
OUTSIDE_REPLIES = ((1024, 3388), (3390, 65535))
"""The same from outside the VPC, where no rule may hold a closed port."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule: TCP to these ports, from there (or to there, when it is for what leaves)."""

    cidr: str
    first: int
    last: int
    action: str = "allow"


@dataclass(frozen=True, kw_only=True)
class NetworkAclsArgs:
    """What the ACLs are told.

    names: the stack's names. network: address range, zones, and private networks in which Cores may be.
    vpc_id, subnets: the VPC, and the subnets of each tier. store_ports: where database and cache listen.
    """

    names: Naming
    network: NetworkSettings
    vpc_id: pulumi.Input[str]
    subnets: Mapping[str, list[pulumi.Output[str]]]
    store_ports: tuple[int, ...]


class NetworkAcls(pulumi.ComponentResource):
    """A network ACL for each tier: the data tier speaks with the app tier alone, no tier takes SSH or RDP.

    Why: a second fence that does not depend on the first one; a security group that is opened by mistake still opens
    nothing. An ACL keeps no state, so replies have rules of their own. Cost: none. Controls: GH-VPC-007.
    """

    ids: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkAclsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:NetworkAcls", name, component_inputs(args), opts)
        self.ids = {
            tier: aws.ec2.NetworkAcl(
                tier,
                vpc_id=args.vpc_id,
                subnet_ids=list(args.subnets[tier]),
                ingress=[
                    aws.ec2.NetworkAclIngressArgs(
                        rule_no=number * 10,
                        action=entry.action,
                        protocol="tcp",
                        cidr_block=entry.cidr,
                        from_port=entry.first,
                        to_port=entry.last,
                    )
                    for number, entry in enumerate(entering(tier, args), start=1)
                ],
                egress=[
                    aws.ec2.NetworkAclEgressArgs(
                        rule_no=number * 10,
                        action=entry.action,
                        protocol="tcp",
                        cidr_block=entry.cidr,
                        from_port=entry.first,
                        to_port=entry.last,
                    )
                    for number, entry in enumerate(leaving(tier, args), start=1)
                ],
                tags=tags("none", Name=args.names.name(tier)),
                opts=pulumi.ResourceOptions(parent=self),
            ).id
            for tier in TIERS
        }
        self.register_outputs({"ids": self.ids})


def entering(tier: str, args: NetworkAclsArgs) -> Iterator[Entry]:
    """What may enter a tier, in the order in which AWS looks; the rest is refused.

    Packets of the VPC itself come before the closed ports, so a reply to a connection that happened to be opened from
    port 3389 is lost only when it comes from outside; TCP tries again from another port.
    """
    if tier == "data":
        yield from (Entry(cidr, port, port) for cidr in tier_cidrs(args.network, "app") for port in args.store_ports)
        return
    yield Entry(args.network.cidr, *REPLIES)
    yield from (Entry(ANYWHERE, port, port, "deny") for port in CLOSED)
    if tier == "edge":
        # Clients, and on 443 also what the app tier sends through the NAT gateways.
        yield from (Entry(ANYWHERE, port, port) for port in (443, 80))
    else:
        # The interface endpoints stand in the app tier.
        yield from (Entry(cidr, 443, 443) for cidr in tier_cidrs(args.network, "app"))
    yield from (Entry(ANYWHERE, *ports) for ports in OUTSIDE_REPLIES)


def leaving(tier: str, args: NetworkAclsArgs) -> Iterator[Entry]:
    """What may leave a tier."""
    if tier == "data":
        yield from (Entry(cidr, *REPLIES) for cidr in tier_cidrs(args.network, "app"))
        return
    yield Entry(ANYWHERE, 443, 443)
    if tier == "edge":
        yield Entry(ANYWHERE, *REPLIES)
        return
    yield Entry(args.network.cidr, *REPLIES)
    ports = (args.network.core_port_min, args.network.core_port_max)
    yield from (Entry(cidr, *ports) for cidr in args.network.core_networks)
