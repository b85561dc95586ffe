"""Security groups, and the connections that they allow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.contract import Contract
from components.naming import tags
from components.settings.data import CACHE_PORT, DATABASE_PORT
from components.settings.model import Settings
from components.settings.network import ANYWHERE, CORE_PORTS
from components.settings.workloads import CLOUDFRONT, CONSOLE

GROUPS = {
    "edge": "Load balancer: accepts HTTP and HTTPS from the internet",
    "gateway": "ECS tasks of the gateway",
    "console": "ECS tasks of the console",
    "migrate": "ECS task of the database migration",
    "database": "RDS for PostgreSQL",
    "cache": "ElastiCache for Valkey",
    "endpoints": "Interface VPC endpoints",
}


PROBE = "probe"
"""Security group of the synthetic probe and the smoke test, if the load balancer is internal."""
ORIGIN = "origin"
"""Security group of the internal load balancer behind CloudFront."""
CLOUDFRONT_PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"
"""Prefix list of the addresses from which CloudFront connects to origins, including VPC origins.
Source: CloudFront Developer Guide, "Restrict access with VPC origins"."""


@dataclass(frozen=True)
class Connection:
    """An allowed TCP connection. Exactly one of `target`, `cidr` and `prefix_list` is the
    destination. With a `target` and no `source`, `cidr` is the network of the clients.

    source: A security group, "" for addresses outside the stack, or CLOUDFRONT for the addresses of
        CloudFront.
    to_port: Last port of a range; 0 for a single port.
    """

    source: str
    description: str
    port: int
    target: str = ""
    cidr: str = ""
    prefix_list: str = ""
    to_port: int = 0


class SecurityGroups(StackComponent):
    """Security groups without inline rules, and one standalone rule for each end of each allowed
    connection.

    Why: Rules reference groups instead of addresses, so tasks accept connections from the load
    balancer only and data stores from tasks only. `connections` lists all allowed connections.
    """

    groups: dict[str, pulumi.Output[str]]
    """ID of each security group, keyed by name."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        vpc_id: pulumi.Input[str],
        prefix_lists: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        self.groups = {
            group: aws.ec2.SecurityGroup(
                group,
                name=self.names.name(group),
                description=description,
                vpc_id=vpc_id,
                tags=self.named(group),
                opts=self.child,
            ).id
            for group, description in groups(self.settings).items()
        }
        for connection in connections(self.settings, self.contract):
            self._rules(connection, prefix_lists)
        self.register_outputs({})

    def _rules(self, connection: Connection, prefix_lists: Mapping[str, pulumi.Input[str]]) -> None:
        """Create the egress rule of the source and the ingress rule of the target."""
        network = connection.cidr.replace("/", "-")
        destination = connection.target or connection.prefix_list or network
        origin = network if connection.target and network else "internet"
        rule = f"{connection.source or origin}-to-{destination}-{connection.port}"
        source, target = (
            self.groups.get(group) for group in (connection.source, connection.target)
        )
        common: dict[str, Any] = {
            "description": connection.description,
            "ip_protocol": "tcp",
            "from_port": connection.port,
            "to_port": connection.to_port or connection.port,
            "tags": tags("none", Name=rule),
            "opts": self.child,
        }
        if source is not None:
            service = connection.prefix_list
            prefix_list = prefix_lists.get(service)
            if service and prefix_list is None:
                prefix_list = self._prefix_list(self.names.endpoint_service(service))
            aws.vpc.SecurityGroupEgressRule(
                rule,
                security_group_id=source,
                referenced_security_group_id=target,
                cidr_ipv4=connection.cidr or None,
                prefix_list_id=prefix_list,
                **common,
            )
        if target is not None:
            from_cloudfront = connection.source == CLOUDFRONT
            aws.vpc.SecurityGroupIngressRule(
                rule,
                security_group_id=target,
                referenced_security_group_id=source,
                cidr_ipv4=None if connection.source else connection.cidr or ANYWHERE,
                prefix_list_id=self._prefix_list(CLOUDFRONT_PREFIX_LIST)
                if from_cloudfront
                else None,
                **common,
            )

    def _prefix_list(self, name: str) -> pulumi.Output[str]:
        """Return the ID of a prefix list, which AWS assigns in each region."""
        options = pulumi.InvokeOutputOptions(parent=self)
        return aws.ec2.get_managed_prefix_list_output(name=name, opts=options).id


def groups(settings: Settings) -> dict[str, str]:
    """Return the description of each security group of the stack, keyed by name."""
    endpoints = {} if has_endpoints(settings) else {"endpoints": ""}
    return (
        {name: text for name, text in GROUPS.items() if name not in endpoints}
        | dict.fromkeys(settings.core_tasks, "ECS tasks of a Core")
        | (
            {ORIGIN: "Internal load balancer: accepts HTTPS from CloudFront"}
            if settings.services.cloudfront
            else {}
        )
        | ({PROBE: "Synthetic probe and smoke test"} if settings.probes_in_vpc else {})
    )


def has_endpoints(settings: Settings) -> bool:
    return settings.network.endpoint_zones != "none"


def _to_aws(source: str, sender: str, settings: Settings) -> Connection:
    """Return the connection to AWS services: to the interface endpoints, or to their public
    addresses."""
    if has_endpoints(settings):
        return Connection(source, f"{sender} to the interface endpoints", 443, "endpoints")
    return Connection(source, f"{sender} to AWS services and others over HTTPS", 443, cidr=ANYWHERE)


def connections(settings: Settings, contract: Contract) -> Iterator[Connection]:
    """Yield every connection that services, Cores and external systems of the stack
    require.
    """
    if not settings.load_balancer.internal:
        yield Connection("", "HTTPS from the internet", 443, "edge")
        yield Connection("", "HTTP from the internet, redirected to HTTPS", 80, "edge")
    for cidr in settings.load_balancer.client_networks:
        yield Connection("", "HTTPS from clients in a private network", 443, "edge", cidr=cidr)
    if settings.probes_in_vpc:
        yield Connection(PROBE, "Probe to the load balancer", 443, "edge")
        yield _to_aws(PROBE, "Probe", settings)
        if settings.heartbeat_region and has_endpoints(settings):
            yield Connection(PROBE, "Probe to CloudWatch of another region", 443, cidr=ANYWHERE)
    if settings.services.cloudfront:
        yield Connection(CLOUDFRONT, "HTTPS from CloudFront", 443, ORIGIN)
    for process in contract.processes.values():
        name = process.name
        for service in process.services:
            balancer = (
                ORIGIN if service.name == CONSOLE and settings.services.cloudfront else "edge"
            )
            yield Connection(
                balancer, f"Load balancer to the {service.name} service", service.port, name
            )
        yield Connection(name, f"{name} tasks to the database", DATABASE_PORT, "database")
        if process.services:
            yield Connection(name, f"{name} tasks to the cache", CACHE_PORT, "cache")
        yield _to_aws(name, f"{name} tasks", settings)
        yield Connection(name, f"{name} tasks to the S3 gateway endpoint", 443, prefix_list="s3")
    yield Connection(
        "console", "Console to the DynamoDB gateway endpoint", 443, prefix_list="dynamodb"
    )
    if has_endpoints(settings):
        yield Connection(
            "gateway", "Gateway to Cores at public addresses over HTTPS", 443, cidr=ANYWHERE
        )
    ports = CORE_PORTS
    for cidr in settings.network.core_networks:
        yield Connection(
            "gateway",
            "Gateway to Cores in a private network",
            ports[0],
            cidr=cidr,
            to_port=ports[1],
        )
    if settings.internet_access and has_endpoints(settings):
        description = "Console to webhook receivers, identity provider and AWS services over HTTPS"
        yield Connection("console", description, 443, cidr=ANYWHERE)
    for cidr in settings.notifications.webhook_networks:
        yield Connection(
            "console", "Console to webhook receivers in a private network", 443, cidr=cidr
        )
    for cidr in settings.oidc.issuer_networks:
        yield Connection("console", "Console to the issuer of identities", 443, cidr=cidr)
    for name, core in settings.core_tasks.items():
        yield Connection("gateway", "Gateway to a Core in the stack", core.port, name)
        if has_endpoints(settings):
            yield _to_aws(name, "Core", settings)
        yield Connection(name, "Core to the S3 gateway endpoint", 443, prefix_list="s3")
        yield Connection(name, "Core to the public host name of the gateway", 443, cidr=ANYWHERE)
