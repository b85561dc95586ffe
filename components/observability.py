"""Composite component for monitoring: alarms, the synthetic probe and data protection findings."""

from collections.abc import Sequence

import pulumi

from components.component import StackComponent
from components.contract import ContractService
from components.data_stores import DataStores
from components.foundation import Foundation
from components.monitoring import synthetic_probe
from components.monitoring.alarms import Alarms
from components.monitoring.data_protection import DataProtection
from components.monitoring.metric_alarms import MonitoredResources
from components.monitoring.synthetic_probe import SyntheticProbe
from components.platform import Platform
from components.private_network import PrivateNetwork
from components.stack import Stack


class Observability(StackComponent):
    """Alarms on user-visible symptoms and on resource exhaustion. All alarms notify one topic, with
    a link to the runbook.
    """

    findings_log_group: pulumi.Output[str]
    """Log group of data protection findings, which report credentials in logs."""
    probe: dict[str, pulumi.Input[object]]
    """Name and role of the probe's function, and its event. Empty if the stack has no probe."""

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
        super().__init__("gatehouse:monitoring:Observability", name, stack, opts)
        logs_key_arn = foundation.keys.logs_arn
        resources = MonitoredResources(
            load_balancers={
                name: balancer.label for name, balancer in platform.load_balancers.items()
            },
            target_groups={
                name: groups.dimensions for name, groups in platform.target_groups.items()
            },
            cluster=platform.cluster.name,
            database=data.database.identifier,
            table=data.secret_links_table.table,
            nat_gateways=network.vpc.nat_gateways,
            certificate_arn=platform.certificate.arn,
        )
        topic_arn = foundation.topic_arn
        self.alarms = Alarms("alarms", stack, topic_arn, resources, self.child)
        self.probe, self._gateway_alarms = {}, []
        if self.settings.monitoring.probe_interval_minutes:
            shared = foundation.function_resources(synthetic_probe.NAME)
            probe = SyntheticProbe(synthetic_probe.NAME, stack, shared, self.child)
            self.probe = {"function": probe.function, "role": shared.role_arn, "event": probe.event}
            self._gateway_alarms = probe.gateway_alarms
        findings = DataProtection("data-protection", stack, logs_key_arn, self.child)
        self.findings_log_group = findings.log_group
        self.register_outputs({})

    def rollback_alarms(self, services: Sequence[ContractService]) -> list[pulumi.Output[str]]:
        """Return the names of the alarms that roll back a deployment of these services."""
        of_gateway = any(service.name == "gateway" for service in services)
        probes = self._gateway_alarms if of_gateway else []
        return [*self.alarms.rollback_alarms(services), *probes]
