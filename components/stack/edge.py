"""The edge of a stack and its alarms: certificate, load balancers, distribution, web ACL."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pulumi

from components.component import TargetGroups
from components.compute.ecs_service import EcsCluster
from components.compute.python_function import FunctionResources
from components.edge.certificate import Certificate
from components.edge.distribution import Distribution
from components.edge.load_balancer import LoadBalancer
from components.edge.web_acl import WebAcl
from components.monitoring import synthetic_probe
from components.monitoring.alarms import Alarms, CompositeAlarms
from components.monitoring.cloudwatch_alarm import MonitoredResources
from components.monitoring.data_protection import DataProtection
from components.monitoring.heartbeat import Heartbeat
from components.monitoring.synthetic_probe import SyntheticProbe
from components.network.security_groups import ORIGIN, PROBE
from components.settings.workloads import CONSOLE
from components.stack.base import Base
from components.stack.data import DataStores, Network, Storage
from components.storage.bucket import Bucket, Buckets


@dataclass(frozen=True)
class Edge:
    """load_balancer: that of the clients. origin: that of the console behind CloudFront."""

    certificate: Certificate
    load_balancer: LoadBalancer
    origin: LoadBalancer | None = None
    distribution: Distribution | None = None

    @property
    def load_balancers(self) -> dict[str, LoadBalancer]:
        origin = {} if self.origin is None else {ORIGIN: self.origin}
        return {"edge": self.load_balancer, **origin}

    @property
    def target_groups(self) -> dict[str, TargetGroups]:
        balancers = self.load_balancers.values()
        return {name: row for each in balancers for name, row in each.target_groups.items()}


@dataclass(frozen=True)
class Monitoring:
    """findings_log_group: receives the findings of CloudWatch Logs data protection."""

    alarms: Alarms
    probe: SyntheticProbe | None
    findings_log_group: pulumi.Input[str]


def create_edge(base: Base, storage: Storage, network: Network) -> Edge:
    stack, opts = base.stack, base.opts
    certificate = Certificate("certificate", stack, opts)
    services = dict(stack.contract.services)
    if stack.settings.services.cloudfront:
        del services[CONSOLE]
    load_balancer = LoadBalancer(
        "edge",
        stack,
        opts,
        services=services,
        vpc_id=network.vpc.vpc_id,
        placement=network.placement("edge", "edge"),
        certificate_arn=certificate.arn,
        log_bucket=storage.logs.name,
    )
    edge = Edge(certificate, load_balancer)
    if certificate.cloudfront_arn is None:
        return edge
    origin = LoadBalancer(
        ORIGIN,
        stack,
        opts,
        services={CONSOLE: stack.contract.services[CONSOLE]},
        vpc_id=network.vpc.vpc_id,
        placement=network.placement("app", ORIGIN),
        certificate_arn=certificate.arn,
        log_bucket=storage.logs.name,
        internal=True,
    )
    arn = certificate.cloudfront_arn
    distribution = _distribution(base, storage, origin, arn)
    return replace(edge, origin=origin, distribution=distribution)


def _distribution(
    base: Base, storage: Storage, origin: LoadBalancer, certificate_arn: pulumi.Output[str]
) -> Distribution:
    stack, opts = base.stack, base.opts
    buckets = Buckets(stack.settings, stack.names)
    edge_logs = Bucket.log_bucket("edge-logs", buckets.edge_logs(), opts)
    web_ui = Bucket("web-ui", buckets.web_ui(base.keys.data_arn, storage.logs.name), opts)
    web_acl = WebAcl(
        "cloudfront",
        stack,
        {CONSOLE: stack.contract.host_patterns[CONSOLE]},
        opts,
        logs_key_arn=base.keys.logs_arn,
        protected_arns={},
        log_bucket_arn=edge_logs.arn,
    )
    return Distribution(
        CONSOLE,
        stack,
        origin,
        opts,
        certificate_arn=certificate_arn,
        web_acl_arn=web_acl.arn,
        bucket=web_ui.name,
        log_bucket_arn=edge_logs.arn,
    )


def create_web_acl(base: Base, edge: Edge, stage_arns: Mapping[str, pulumi.Input[str]]) -> None:
    stack, opts = base.stack, base.opts
    hosts = dict(stack.contract.host_patterns)
    if edge.distribution:
        # CloudFront evaluates the requests for the console with a web ACL of its own.
        del hosts[CONSOLE]
    if stack.settings.waf.enabled:
        WebAcl(
            "web-acl",
            stack,
            hosts,
            opts,
            logs_key_arn=base.keys.logs_arn,
            protected_arns={"web-acl": edge.load_balancer.arn, **stage_arns},
        )


def create_monitoring(
    base: Base, network: Network, stores: DataStores, edge: Edge, cluster: EcsCluster
) -> Monitoring:
    stack, opts = base.stack, base.opts
    balancers, settings = edge.load_balancers, stack.settings
    resources = MonitoredResources(
        load_balancers={name: balancer.label for name, balancer in balancers.items()},
        target_groups={name: group.dimensions for name, group in edge.target_groups.items()},
        grpc_groups={
            name: group.dimensions for name, group in edge.load_balancer.grpc_groups.items()
        },
        cluster=cluster.name,
        database=stores.database.identifier,
        table=stores.table.table,
        keys=list(base.keys.arns.values()),
        nat_gateways=network.vpc.nat_gateways,
        certificate_arn=edge.certificate.arn,
    )
    alarms = Alarms("alarms", stack, base.topics, resources, opts)
    probe = None
    if settings.monitoring.probe:
        function = probe_resources(synthetic_probe.NAME, base, network)
        probe = SyntheticProbe(synthetic_probe.NAME, stack, function, opts)
    others = [*alarms.created, *(probe.alarms if probe else ())]
    if settings.monitoring.creates_alarms:
        CompositeAlarms(
            *("composite-alarms", stack, base.topics, others),
            *(alarms.service_alarms, balancers, opts),
        )
    if settings.heartbeat_region:
        Heartbeat("heartbeat", stack, opts)
    findings = DataProtection("data-protection", stack, base.keys.logs_arn, opts)
    return Monitoring(alarms, probe, findings.log_group)


def probe_resources(name: str, base: Base, network: Network) -> FunctionResources:
    """The resources of a function that requests the services from where clients do."""
    stack = base.stack
    resources = base.of_function(name)
    if stack.settings.probes_in_vpc:
        resources = replace(resources, placement=network.placement("app", PROBE))
    return resources
