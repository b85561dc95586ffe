"""The security groups, and the table of who may open a connection to whom."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.contract import Contract
from components.naming import Naming
from components.settings.network import NetworkSettings
from components.tags import tags

ANYWHERE = "0.0.0.0/0"

GROUPS = {
    "edge": "Load balancer: the only group that the internet reaches",
    "gateway": "Tasks of the gateway",
    "console": "Tasks of the console",
    "migrate": "Migration task",
    "database": "PostgreSQL",
    "cache": "Valkey",
    "endpoints": "Interface endpoints of AWS services",
}
PROXY = "database-proxy"


@dataclass(frozen=True, slots=True)
class Flow:
    """One permitted kind of connection. Exactly one of `target` (a group), `cidr` and `prefix_list` (a gateway
    endpoint's service) is the other side.

    source: a group, or "" for the internet.
    """

    source: str
    words: str
    port: int
    target: str = ""
    cidr: str = ""
    prefix_list: str = ""
    port_last: int = 0


@dataclass(frozen=True, kw_only=True)
class SecurityGroupsArgs:
    """What the firewall is told.

    names: the stack's names. network: private networks in which Cores may be. contract: the services and their ports.
    vpc_id: the VPC. prefix_lists: address lists of the gateway endpoints by service.
    rds_proxy: the application reaches the database through RDS Proxy. database_port, cache_port: where the stores
    listen. cores: port of each Core beside the gateway, by the name of its group. console_out: the console opens
    connections to the internet. webhooks: private networks in which its webhooks may be.
    """

    names: Naming
    network: NetworkSettings
    contract: Contract
    vpc_id: pulumi.Input[str]
    prefix_lists: Mapping[str, pulumi.Input[str]]
    rds_proxy: bool = False
    database_port: int = 5432
    cache_port: int = 6379
    core_ports: Mapping[str, int] = field(default_factory=dict)
    console_egress: bool = False
    webhook_networks: tuple[str, ...] = ()


class SecurityGroups(pulumi.ComponentResource):
    """Security groups without rules of their own, and one standalone rule for each end of each permitted flow.

    Why: rules name groups, not addresses, so a task is reached by its load balancer alone and a store by its tasks
    alone; all of them can be read in one table. Cost: none. Controls: GH-VPC-004 to GH-VPC-006, GH-RDS-016.
    """

    groups: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: SecurityGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:SecurityGroups", name, component_inputs(args), opts)
        self.groups = {
            group: aws.ec2.SecurityGroup(
                group,
                name=args.names.name(group),
                description=words,
                vpc_id=args.vpc_id,
                tags=tags("none", Name=args.names.name(group)),
                opts=pulumi.ResourceOptions(parent=self),
            ).id
            for group, words in (
                GROUPS
                | ({PROXY: "RDS Proxy"} if args.rds_proxy else {})
                | dict.fromkeys(args.core_ports, "Tasks of a Core beside the gateway")
            ).items()
        }
        for flow in flows(args):
            self._open(flow, args)
        self.register_outputs({"groups": self.groups})

    def _open(self, flow: Flow, args: SecurityGroupsArgs) -> None:
        last = flow.port_last or flow.port
        other = flow.target or flow.prefix_list or flow.cidr.replace("/", "-")
        rule = f"{flow.source or 'internet'}-to-{other}-{flow.port}"
        if flow.source:
            aws.vpc.SecurityGroupEgressRule(
                rule,
                security_group_id=self.groups[flow.source],
                description=flow.words,
                ip_protocol="tcp",
                from_port=flow.port,
                to_port=last,
                referenced_security_group_id=self.groups[flow.target] if flow.target else None,
                cidr_ipv4=flow.cidr or None,
                prefix_list_id=args.prefix_lists[flow.prefix_list] if flow.prefix_list else None,
                tags=tags("none", Name=rule),
                opts=pulumi.ResourceOptions(parent=self),
            )
        if flow.target:
            aws.vpc.SecurityGroupIngressRule(
                rule,
                security_group_id=self.groups[flow.target],
                description=flow.words,
                ip_protocol="tcp",
                from_port=flow.port,
                to_port=last,
                referenced_security_group_id=self.groups[flow.source] if flow.source else None,
                cidr_ipv4=None if flow.source else ANYWHERE,
                tags=tags("none", Name=rule),
                opts=pulumi.ResourceOptions(parent=self),
            )


def flows(args: SecurityGroupsArgs) -> Iterator[Flow]:
    """Every connection that may be opened; what is not here is refused."""
    yield Flow("", "Clients over HTTPS", 443, "edge")
    yield Flow("", "Clients over HTTP, answered with a redirect to HTTPS alone", 80, "edge")
    for process in args.contract.processes.values():
        for service in process.services:
            yield Flow("edge", f"Requests and health checks to the {service.name} service", service.port, process.name)
        # The owner's password opens the database itself; the proxy knows the application alone.
        met = PROXY if args.rds_proxy and process.services else "database"
        yield Flow(process.name, f"{process.name} to its database", args.database_port, met)
        if process.services:
            yield Flow(process.name, f"{process.name} to its cache", args.cache_port, "cache")
        yield Flow(process.name, f"{process.name} to AWS services by interface endpoint", 443, "endpoints")
        yield Flow(process.name, "Image layers and files by the S3 endpoint", 443, prefix_list="s3")
    if args.rds_proxy:
        yield Flow(PROXY, "RDS Proxy to the database", args.database_port, "database")
    yield Flow("console", "Share tokens by the DynamoDB endpoint", 443, prefix_list="dynamodb")
    yield Flow("gateway", "Cores at public addresses, HTTPS alone", 443, cidr=ANYWHERE)
    for cidr in args.network.core_networks:
        yield Flow(
            "gateway",
            "Cores in a private network",
            args.network.core_port_min,
            cidr=cidr,
            port_last=args.network.core_port_max,
        )
    if args.console_egress:
        yield Flow("console", "Webhooks, sign-in and traces at public addresses, HTTPS alone", 443, cidr=ANYWHERE)
    for cidr in args.webhook_networks:
        yield Flow("console", "Webhooks in a private network", 443, cidr=cidr)
    for core, port in args.core_ports.items():
        yield Flow("gateway", "The gateway to a Core beside it, which nobody else reaches", port, core)
        yield Flow(core, "A Core to AWS services by interface endpoint", 443, "endpoints")
        yield Flow(core, "Image layers by the S3 endpoint", 443, prefix_list="s3")
        yield Flow(core, "A Core to the gateway's public name, to register", 443, cidr=ANYWHERE)
