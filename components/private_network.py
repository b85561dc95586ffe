"""Composite component for the network: VPC, security groups, network ACLs and VPC endpoints."""

import pulumi

from components.component import Placement, StackComponent
from components.foundation import Foundation
from components.network.network_acls import NetworkAcls
from components.network.security_groups import SecurityGroups
from components.network.vpc import Vpc
from components.network.vpc_endpoints import VpcEndpoints
from components.stack import Stack


class PrivateNetwork(StackComponent):
    """A VPC with three subnet tiers, in which security groups allow only the required
    connections.
    """

    def __init__(
        self, name: str, stack: Stack, foundation: Foundation, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gatehouse:network:PrivateNetwork", name, stack, opts)
        log_role_arn = foundation.role_arns["network-log"]
        self.vpc = Vpc("vpc", stack, foundation.keys.logs_arn, log_role_arn, self.child)
        vpc_id, prefix_lists = self.vpc.vpc_id, self.vpc.prefix_lists
        groups = SecurityGroups("security-groups", stack, vpc_id, prefix_lists, self.child)
        self.security_groups = groups.groups
        NetworkAcls("network-acls", stack, vpc_id, self.vpc.subnets, self.child)
        endpoints = Placement(self.vpc.endpoint_subnets, self.security_groups["endpoints"])
        VpcEndpoints("vpc-endpoints", stack, vpc_id, endpoints, self.child)
        self.register_outputs({})

    def placement(self, tier: str, group: str) -> Placement:
        """Return the subnets of a tier with a security group. Raises KeyError if one of them does
        not exist.
        """
        return Placement(self.vpc.subnets[tier], self.security_groups[group])
