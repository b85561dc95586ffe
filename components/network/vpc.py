"""The VPC: three subnet tiers over the zones, the way out of each, gateway endpoints, and a log of every connection."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Conditions, Document, allow, document, render
from components.naming import Naming
from components.network.subnets import TIERS, tier_cidrs
from components.settings.network import NetworkSettings
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class VpcArgs:
    """What the network is told.

    names: the stack's names.
    network: address range, zones, and how the app tier reaches the internet.
    log_retention_days: how long flow logs are kept.
    log_key_arn: the KMS key of the flow log group.
    log_role_arn: the role that writes them.
    buckets: names of the stack's buckets, all that the S3 endpoint lets through. written: ARNs of objects elsewhere that may be
    written and not read. shared: ARNs of objects in foreign buckets that may be read and replaced.
    """

    names: Naming
    network: NetworkSettings
    log_retention_days: int
    log_key_arn: pulumi.Input[str]
    log_role_arn: pulumi.Input[str]
    buckets: tuple[str, ...]
    write_only_objects: tuple[str, ...] = ()
    shared_objects: tuple[str, ...] = ()


class Vpc(pulumi.ComponentResource):
    """The VPC. Edge holds the load balancer, app the tasks, data the stores; data has no route out of the VPC.

    Why: each tier is reached only through the one before it; what a task may reach is decided by security groups,
    endpoints and routes together. Cost: about 35 USD a month for each NAT gateway, plus traffic; flow logs 0.57 USD a
    GB. Controls: GH-VPC-001 to GH-VPC-003, GH-VPC-008 to GH-VPC-011.
    """

    vpc_id: pulumi.Output[str]
    subnets: dict[str, list[pulumi.Output[str]]]
    endpoint_subnets: list[pulumi.Output[str]]
    """The subnets of the app tier in which interface endpoints stand."""
    exclusions: list[pulumi.Output[str]]
    """What keeps the edge open when an account blocks public access to its VPCs."""
    prefix_lists: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: VpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:Vpc", name, component_inputs(args), opts)
        names = args.names
        vpc = aws.ec2.Vpc(
            "vpc",
            cidr_block=args.network.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=tags("none", Name=names.name("vpc")),
            opts=self._child(),
        )
        # Without rules of ours it keeps none: nothing that forgets to choose a group can talk to anything.
        aws.ec2.DefaultSecurityGroup(
            "default", vpc_id=vpc.id, tags=tags("none", Name=names.name("default-closed")), opts=self._child()
        )
        self.vpc_id = vpc.id
        self._log(args)
        self.subnets = {tier: self._tier(tier, args) for tier in TIERS}
        self.endpoint_subnets = self.subnets["app"][: 1 if args.network.endpoint_zones == "one" else None]
        self.exclusions = [
            self._exclude(zone, subnet, names) for zone, subnet in zip(args.network.zones, self.subnets["edge"], strict=True)
        ]
        tables = self._routes(args)
        self.prefix_lists = {
            service: self._gateway(service, policy, tables, names)
            for service, policy in (
                ("s3", s3_policy(names, args.buckets, args.write_only_objects, args.shared_objects)),
                ("dynamodb", dynamodb_policy(names)),
            )
        }
        self.register_outputs({"vpcId": self.vpc_id, "subnets": self.subnets, "prefixLists": self.prefix_lists})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _tier(self, tier: str, args: VpcArgs) -> list[pulumi.Output[str]]:
        blocks = zip(args.network.zones, tier_cidrs(args.network, tier), strict=True)
        return [
            aws.ec2.Subnet(
                f"{tier}-{zone}",
                vpc_id=self.vpc_id,
                cidr_block=cidr,
                availability_zone=zone,
                map_public_ip_on_launch=False,
                tags=tags("none", Name=args.names.name(f"{tier}-{zone}"), Tier=tier),
                opts=self._child(),
            ).id
            for zone, cidr in blocks
        ]

    def _exclude(self, zone: str, subnet: pulumi.Output[str], names: Naming) -> pulumi.Output[str]:
        """The load balancer's subnet stays reachable when public access is blocked; before that it changes nothing (VPC
        user guide, "Create and delete exclusions")."""
        return aws.ec2.VpcBlockPublicAccessExclusion(
            f"edge-{zone}",
            subnet_id=subnet,
            internet_gateway_exclusion_mode="allow-bidirectional",
            tags=tags("none", Name=names.name(f"edge-{zone}")),
            opts=self._child(),
        ).id

    def _routes(self, args: VpcArgs) -> list[pulumi.Output[str]]:
        """Edge goes to the internet, app through NAT if there is one, data nowhere. Returns the route tables of the app
        tier."""
        gateway = aws.ec2.InternetGateway(
            "internet", vpc_id=self.vpc_id, tags=tags("none", Name=args.names.name("internet")), opts=self._child()
        )
        edge = self._table("edge", self.subnets["edge"], args.names)
        out = aws.ec2.Route(
            "edge", route_table_id=edge, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id, opts=self._child()
        )
        self._table("data", self.subnets["data"], args.names)
        zones = args.network.zones
        nats = [
            self._nat(zones[i], subnet, out, args.names)
            for i, subnet in enumerate(self.subnets["edge"][: nat_count(args.network)])
        ]
        tables = []
        for index, (zone, subnet) in enumerate(zip(zones, self.subnets["app"], strict=True)):
            table = self._table(f"app-{zone}", [subnet], args.names)
            tables.append(table)
            if nats:
                aws.ec2.Route(
                    f"app-{zone}",
                    route_table_id=table,
                    destination_cidr_block="0.0.0.0/0",
                    nat_gateway_id=nats[index % len(nats)],
                    opts=self._child(),
                )
        return tables

    def _table(self, name: str, subnets: list[pulumi.Output[str]], names: Naming) -> pulumi.Output[str]:
        table = aws.ec2.RouteTable(name, vpc_id=self.vpc_id, tags=tags("none", Name=names.name(name)), opts=self._child())
        for index, subnet in enumerate(subnets):
            aws.ec2.RouteTableAssociation(f"{name}-{index}", route_table_id=table.id, subnet_id=subnet, opts=self._child())
        return table.id

    def _nat(self, zone: str, subnet: pulumi.Output[str], out: aws.ec2.Route, names: Naming) -> pulumi.Output[str]:
        address = aws.ec2.Eip(f"nat-{zone}", domain="vpc", tags=tags("none", Name=names.name(f"nat-{zone}")), opts=self._child())
        return aws.ec2.NatGateway(
            zone,
            allocation_id=address.id,
            subnet_id=subnet,
            connectivity_type="public",
            tags=tags("none", Name=names.name(f"nat-{zone}")),
            # A NAT gateway that starts before its subnet reaches the internet fails.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[out]),
        ).id

    def _gateway(self, service: str, policy: Document, tables: list[pulumi.Output[str]], names: Naming) -> pulumi.Output[str]:
        return aws.ec2.VpcEndpoint(
            service,
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{names.region}.{service}",
            vpc_endpoint_type="Gateway",
            route_table_ids=tables,
            policy=render(policy),
            tags=tags("none", Name=names.name(service)),
            opts=self._child(),
        ).prefix_list_id

    def _log(self, args: VpcArgs) -> None:
        group = aws.cloudwatch.LogGroup(
            "flow",
            name=args.names.log_group("network"),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=self._child(),
        )
        aws.ec2.FlowLog(
            "flow",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=args.log_role_arn,
            max_aggregation_interval=60,
            tags=tags("log", Name=args.names.name("flow")),
            opts=self._child(),
        )


def nat_count(network: NetworkSettings) -> int:
    """How many NAT gateways the setting asks for."""
    return {"none": 0, "one": 1, "per_zone": len(network.zones)}[network.nat]


def s3_policy(names: Naming, buckets: tuple[str, ...], written: tuple[str, ...] = (), shared: tuple[str, ...] = ()) -> Document:
    """What may pass the S3 endpoint: our principals to our buckets, and ECR's own bucket of image layers.

    Image pulls fail without the latter (ECR user guide, "Minimum Amazon S3 bucket permissions"); its objects are
    fetched by signed URLs of ECR, so no principal of ours can be asked for.
    """
    arns = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
    principals: Conditions = {"StringEquals": {"aws:PrincipalAccount": names.account}}
    ours: Conditions = {"StringEquals": {"aws:PrincipalAccount": names.account, "aws:ResourceAccount": names.account}}
    return document(
        allow(
            "OwnBuckets",
            ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
            [*arns, *(f"{arn}/*" for arn in arns)],
            principal="*",
            conditions=ours,
        ),
        *([allow("OnlyWritten", ["s3:PutObject"], written, principal="*", conditions=ours)] if written else []),
        # The bucket may be another account's, so that only who asks can be demanded; hence the exact objects.
        *([allow("OldFiles", ["s3:GetObject", "s3:PutObject"], shared, principal="*", conditions=principals)] if shared else []),
        allow(
            "ImageLayers",
            ["s3:GetObject"],
            [f"arn:aws:s3:::prod-{names.region}-starport-layer-bucket/*"],
            principal="*",
        ),
    )


def dynamodb_policy(names: Naming) -> Document:
    """What may pass the DynamoDB endpoint: our principals to single items of our tables."""
    return document(
        allow(
            "OwnTables",
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"],
            [names.table_arn("*")],
            principal="*",
            conditions={"StringEquals": {"aws:PrincipalAccount": names.account, "aws:ResourceAccount": names.account}},
        )
    )
