"""Composite component for the network: VPC, security groups, network ACLs and VPC endpoints."""

from collections.abc import Mapping

import pulumi

from components.component import Component, Placement
from components.contract import Stack
from components.foundation import Foundation
from components.iam import object_policies
from components.network import security_groups
from components.network.network_acls import NetworkAcls, NetworkAclsArgs
from components.network.security_groups import SecurityGroups, SecurityGroupsArgs
from components.network.vpc import ExistingVpc, Vpc, VpcArgs
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
        settings, names = stack.settings, stack.names
        vpc = VpcArgs(
            names=names,
            network=settings.network,
            existing=_existing_vpc(stack),
            logs=foundation.logs,
            log_role_arn=foundation.role_arns["network-log"],
            buckets=(names.bucket("data"),),
            write_only_objects=(object_policies.checkpoint_arns(names),),
            shared_objects=tuple(object_policies.legacy_file_arns(names, settings.legacy_files)),
        )
        self.vpc = Vpc("vpc", vpc, self.child)
        groups = SecurityGroupsArgs(
            names=names,
            groups=security_groups.groups(settings),
            connections=tuple(security_groups.connections(settings, stack.contract)),
            vpc_id=self.vpc.vpc_id,
            prefix_lists=self.vpc.prefix_lists,
        )
        self.security_groups = SecurityGroups("security-groups", groups, self.child).groups
        NetworkAcls(
            "network-acls",
            NetworkAclsArgs(
                names=names,
                network=settings.network,
                vpc_id=self.vpc.vpc_id,
                subnets=self.vpc.subnets,
            ),
            self.child,
        )
        endpoints = VpcEndpointsArgs(
            names=names,
            vpc_id=self.vpc.vpc_id,
            network=settings.network,
            placement=Placement(self.vpc.endpoint_subnets, self.security_groups["endpoints"]),
        )
        VpcEndpoints("vpc-endpoints", endpoints, self.child)
        self.register_outputs({})

    def placement(self, tier: str, group: str) -> Placement:
        """Return the subnets of a tier with a security group. Raises KeyError if one of them does
        not exist.
        """
        return Placement(self.vpc.subnets[tier], self.security_groups[group])


def _existing_vpc(stack: Stack) -> ExistingVpc | None:
    existing = stack.settings.existing_resources
    return (
        ExistingVpc(existing.vpc_id, existing.internet_gateway_id)
        if existing.vpc_id and existing.internet_gateway_id
        else None
    )
