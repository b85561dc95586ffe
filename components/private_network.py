"""Composite component for the network: VPC, security groups, network ACLs and VPC endpoints."""

from collections.abc import Mapping

import pulumi

from components.component import Component, Placement
from components.contract import Stack
from components.foundation import Foundation
from components.network.network_acls import NetworkAcls, NetworkAclsArgs
from components.network.security_groups import SecurityGroups, SecurityGroupsArgs
from components.network.vpc import Vpc, VpcArgs
from components.network.vpc_endpoints import VpcEndpoints, VpcEndpointsArgs


class PrivateNetwork(Component):
    """A VPC with three subnet tiers, in which security groups allow only the required
    connections.
    """

    security_groups: Mapping[str, pulumi.Output[str]]
    """ID of each security group, keyed by name."""

    def __init__(
        self, name: str, stack: Stack, foundation: Foundation, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gatehouse:network:PrivateNetwork", name, None, opts)
        vpc = VpcArgs(
            stack=stack,
            logs_key_arn=foundation.keys.logs_arn,
            log_role_arn=foundation.role_arns["network-log"],
        )
        self.vpc = Vpc("vpc", vpc, self.child)
        groups = SecurityGroupsArgs(
            stack=stack, vpc_id=self.vpc.vpc_id, prefix_lists=self.vpc.prefix_lists
        )
        self.security_groups = SecurityGroups("security-groups", groups, self.child).groups
        acls = NetworkAclsArgs(stack=stack, vpc_id=self.vpc.vpc_id, subnets=self.vpc.subnets)
        NetworkAcls("network-acls", acls, self.child)
        endpoints = VpcEndpointsArgs(
            stack=stack,
            vpc_id=self.vpc.vpc_id,
            placement=Placement(self.vpc.endpoint_subnets, self.security_groups["endpoints"]),
        )
        VpcEndpoints("vpc-endpoints", endpoints, self.child)
        self.register_outputs({})

    def placement(self, tier: str, group: str) -> Placement:
        """Return the subnets of a tier with a security group. Raises KeyError if one of them does
        not exist.
        """
        return Placement(self.vpc.subnets[tier], self.security_groups[group])
