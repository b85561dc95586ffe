"""The VPC: subnets in three tiers, route tables, NAT gateways, gateway endpoints and flow logs."""

from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.iam import object_policies
from components.iam.documents import render
from components.naming import tags
from components.network.vpc_endpoints import dynamodb_policy, s3_policy
from components.settings.network import ANYWHERE, TIERS


class Vpc(StackComponent):
    """A VPC with three subnet tiers: edge for the load balancer, app for tasks, data for data
    stores.

    Why: Each tier accepts connections from the previous tier only, and the data tier has no route
        out of the VPC.
    """

    subnets: dict[str, list[pulumi.Output[str]]]
    """Subnets in the order of the zones, keyed by tier."""
    cidrs: dict[str, list[pulumi.Input[str]]]
    """CIDR blocks of the subnets, in the same order. A subnet has one IPv4 block."""
    endpoint_subnets: list[pulumi.Output[str]]
    """Subnets of the app tier that contain the interface endpoints."""
    nat_gateways: dict[str, pulumi.Output[str]]
    """IDs of the NAT gateways, keyed by zone."""
    prefix_lists: dict[str, pulumi.Output[str]]
    """Prefix lists of the stack's gateway endpoints, keyed by service."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        logs_key_arn: pulumi.Input[str],
        log_role_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        network = self.settings.network
        existing = self.settings.existing_resources.vpc_id
        self.vpc_id = pulumi.Output.from_input(existing) if existing else self._vpc()
        # The owner of a shared subnet has its routes, network ACLs, endpoints and flow logs (VPC
        # User Guide, "Responsibilities and permissions for owners and participants", read
        # 2026-11-29).
        if network.owns_subnets:
            self.subnets = {tier: self._tier(tier) for tier in TIERS}
            self.cidrs = {tier: [*network.tier_cidrs(tier)] for tier in TIERS}
            self._flow_logs(logs_key_arn, log_role_arn)
        else:
            self.subnets = {
                tier: [pulumi.Output.from_input(each) for each in getattr(network.subnets, tier)]
                for tier in TIERS
            }
            self.cidrs = {
                tier: [self._cidr(each) for each in getattr(network.subnets, tier)]
                for tier in TIERS
            }
        count = {"none": 0, "one": 1, "all": None}[network.endpoint_zones]
        self.endpoint_subnets = self.subnets["app"][:count]
        # The exclusions have no effect while VPC Block Public Access is disabled (VPC User Guide,
        # "Create and delete exclusions").
        exclusions = network.public_access_exclusions and self.settings.has_internet_gateway
        public_subnets = [
            (tier, zone, subnet)
            for tier in (("edge", "app") if network.has_public_tasks else ("edge",))
            for zone, subnet in zip(network.zones, self.subnets[tier], strict=True)
            if exclusions
        ]
        for tier, zone, subnet in public_subnets:
            aws.ec2.VpcBlockPublicAccessExclusion(
                f"{tier}-{zone}",
                subnet_id=subnet,
                internet_gateway_exclusion_mode="allow-bidirectional"
                if tier == "edge"
                else "allow-egress",
                tags=self.named(f"{tier}-{zone}"),
                opts=self.child,
            )
        self.nat_gateways, self.prefix_lists = {}, {}
        if network.owns_subnets:
            self.prefix_lists = self._gateway_endpoints(self._route_tables())
        self.register_outputs({})

    def _cidr(self, subnet_id: str) -> pulumi.Output[str]:
        options = pulumi.InvokeOutputOptions(parent=self)
        return aws.ec2.get_subnet_output(id=subnet_id, opts=options).cidr_block

    def _vpc(self) -> pulumi.Output[str]:
        vpc = aws.ec2.Vpc(
            "vpc",
            cidr_block=self.settings.network.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self.named("vpc"),
            opts=self.child,
        )
        # Pulumi removes all rules of the default security group.
        aws.ec2.DefaultSecurityGroup(
            "default", vpc_id=vpc.id, tags=self.named("default-closed"), opts=self.child
        )
        return vpc.id

    def _internet_gateway(self) -> pulumi.Input[str]:
        if existing := self.settings.existing_resources.internet_gateway_id:
            return existing
        return aws.ec2.InternetGateway(
            "internet", vpc_id=self.vpc_id, tags=self.named("internet"), opts=self.child
        ).id

    def _tier(self, tier: str) -> list[pulumi.Output[str]]:
        network = self.settings.network
        return [
            aws.ec2.Subnet(
                f"{tier}-{zone}",
                vpc_id=self.vpc_id,
                cidr_block=cidr,
                availability_zone=zone,
                map_public_ip_on_launch=False,
                tags=self.named(f"{tier}-{zone}", Tier=tier),
                opts=self.child,
            ).id
            for zone, cidr in zip(network.zones, network.tier_cidrs(tier), strict=True)
        ]

    def _route_tables(self) -> list[pulumi.Output[str]]:
        """Route edge to the internet gateway and app to NAT gateways. Returns the route tables of
        the app tier.
        """
        edge = self._table("edge", self.subnets["edge"])
        gateway, routes = None, list[aws.ec2.Route]()
        if self.settings.has_internet_gateway:
            gateway = self._internet_gateway()
            route = aws.ec2.Route(
                "edge",
                route_table_id=edge,
                destination_cidr_block=ANYWHERE,
                gateway_id=gateway,
                opts=self.child,
            )
            routes.append(route)
        self._table("data", self.subnets["data"])
        zones, nat_count = self.settings.network.zones, self.settings.network.nat_count
        self.nat_gateways = {
            zone: self._nat(zone, subnet, routes)
            for zone, subnet in list(zip(zones, self.subnets["edge"], strict=True))[:nat_count]
        }
        nats = list(self.nat_gateways.values())
        tables = []
        for index, (zone, subnet) in enumerate(zip(zones, self.subnets["app"], strict=True)):
            table = self._table(f"app-{zone}", [subnet])
            tables.append(table)
            is_public = self.settings.network.has_public_tasks
            if nats or is_public:
                aws.ec2.Route(
                    f"app-{zone}",
                    route_table_id=table,
                    destination_cidr_block=ANYWHERE,
                    gateway_id=gateway if is_public else None,
                    nat_gateway_id=nats[index % len(nats)] if nats else None,
                    opts=self.child,
                )
        return tables

    def _table(self, name: str, subnets: list[pulumi.Output[str]]) -> pulumi.Output[str]:
        table = aws.ec2.RouteTable(name, vpc_id=self.vpc_id, tags=self.named(name), opts=self.child)
        for index, subnet in enumerate(subnets):
            aws.ec2.RouteTableAssociation(
                f"{name}-{index}", route_table_id=table.id, subnet_id=subnet, opts=self.child
            )
        return table.id

    def _nat(
        self, zone: str, subnet: pulumi.Output[str], internet_routes: list[aws.ec2.Route]
    ) -> pulumi.Output[str]:
        address = aws.ec2.Eip(
            f"nat-{zone}", domain="vpc", tags=self.named(f"nat-{zone}"), opts=self.child
        )
        return aws.ec2.NatGateway(
            zone,
            allocation_id=address.id,
            subnet_id=subnet,
            connectivity_type="public",
            tags=self.named(f"nat-{zone}"),
            # NAT gateway creation fails without a route to the internet gateway.
            opts=self.after(*internet_routes),
        ).id

    def _gateway_endpoints(self, tables: list[pulumi.Output[str]]) -> dict[str, pulumi.Output[str]]:
        """Create the gateway endpoints. Returns the prefix lists of the endpoints, keyed by
        service.
        """
        policies = {
            "s3": s3_policy(
                self.names, object_policies.legacy_file_arns(self.names, self.settings.legacy_files)
            ),
            "dynamodb": dynamodb_policy(self.names),
        }
        return {
            service: aws.ec2.VpcEndpoint(
                service,
                vpc_id=self.vpc_id,
                service_name=self.names.endpoint_service(service),
                vpc_endpoint_type="Gateway",
                route_table_ids=tables,
                policy=render(policy),
                tags=self.named(service),
                opts=self.child,
            ).prefix_list_id
            for service, policy in policies.items()
        }

    def _flow_logs(self, key_arn: pulumi.Input[str], role_arn: pulumi.Input[str]) -> None:
        """Create the flow log of the VPC or, in an existing VPC, a flow log for each subnet of the
        stack.
        """
        group = self.create_log_group("flow", self.names.log_group("network"), key_arn)
        sources: dict[str, dict[str, Any]] = {"flow": {"vpc_id": self.vpc_id}}
        if self.settings.existing_resources.vpc_id:
            sources = {
                f"flow-{tier}-{zone}": {"subnet_id": subnet}
                for tier, subnets in self.subnets.items()
                for zone, subnet in zip(self.settings.network.zones, subnets, strict=True)
            }
        for name, source in sources.items():
            aws.ec2.FlowLog(
                name,
                **source,
                traffic_type="ALL",
                log_destination_type="cloud-watch-logs",
                log_destination=group.arn,
                iam_role_arn=role_arn,
                max_aggregation_interval=60,
                tags=tags("log", Name=self.names.name(name)),
                opts=self.child,
            )
