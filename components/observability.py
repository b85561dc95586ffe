"""Composite component for monitoring: alarms with their topic, the synthetic probe and data
protection findings.
"""

import pulumi

from components.component import Component, LogArgs
from components.contract import Stack
from components.data_stores import DataStores
from components.foundation import Foundation
from components.iam import role_policies, sharing_roles
from components.monitoring import synthetic_probe
from components.monitoring.alarms import Alarms, AlarmsArgs
from components.monitoring.dashboard import MonitoredResources
from components.monitoring.data_protection import DataProtection
from components.monitoring.synthetic_probe import SyntheticProbe, SyntheticProbeArgs
from components.platform import Platform
from components.private_network import PrivateNetwork
from components.storage.bucket import REPLICATION_RULE


class Observability(Component):
    """Alarms on user-visible symptoms and on resource exhaustion. All alarms notify one topic, with
    a link to the runbook.
    """

    findings_log_group: pulumi.Output[str]
    """Log group of data protection findings, which report credentials in logs."""
    probe: dict[str, pulumi.Input[object]]
    """Name and role of the probe's function, and the URLs that the function requests. Empty if the
    stack has no probe.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        foundation: Foundation,
        network: PrivateNetwork,
        data: DataStores,
        platform: Platform,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:monitoring:Observability", name, None, opts)
        settings, names = stack.settings, stack.names
        alarms = AlarmsArgs(
            names=names,
            monitoring=settings.monitoring,
            key_arn=foundation.keys.logs_arn,
            resources=MonitoredResources(
                load_balancers={
                    name: balancer.label for name, balancer in platform.load_balancers.items()
                },
                target_groups={
                    name: groups.dimensions for name, groups in platform.target_groups.items()
                },
                ecs_services=tuple(stack.contract.ecs_services),
                cluster=platform.cluster.name,
                database=data.database.identifier,
                cache_nodes=names.cache_nodes(1 + settings.cache.replicas),
                table=data.secret_links_table.table,
                rotation_function=names.name(role_policies.ROTATION_FUNCTION),
                dead_letter_queue=names.dead_letter_queue(role_policies.ROTATION_FUNCTION),
                nat_gateways=network.vpc.nat_gateways,
                replication=_replication(stack),
                functions={
                    function.service.name: sharing_roles.STAGE
                    for function in stack.contract.functions.values()
                },
            ),
            database=settings.database,
            certificate_arn=platform.certificate.arn,
            secret_replica=bool(settings.recovery.stack),
        )
        self.alarms = Alarms("alarms", alarms, self.child)
        self.probe = (
            self._probe(stack, foundation) if settings.monitoring.probe_interval_minutes else {}
        )
        findings = LogArgs(names=names, logs=foundation.logs)
        self.findings_log_group = DataProtection("data-protection", findings, self.child).log_group
        self.register_outputs({})

    def _probe(self, stack: Stack, foundation: Foundation) -> dict[str, pulumi.Input[object]]:
        probe_role = foundation.role_arns[synthetic_probe.NAME]
        args = SyntheticProbeArgs(
            names=stack.names,
            monitoring=stack.settings.monitoring,
            urls=stack.contract.health_urls,
            role_arn=probe_role,
            concurrency=stack.settings.function_concurrency,
            logs=foundation.logs,
            topic_arn=self.alarms.topic_arn,
        )
        probe = SyntheticProbe("probe", args, self.child)
        return {
            "function": probe.function,
            "role": probe_role,
            "services": stack.contract.health_urls,
        }


def _replication(stack: Stack) -> tuple[str, ...]:
    """Return the names of the data bucket and its replica, and the ID of the replication rule;
    empty without replication.
    """
    names, region = stack.names, stack.settings.replication_region
    return (
        (names.bucket("data"), names.in_region(region).bucket("data"), REPLICATION_RULE)
        if region
        else ()
    )
