"""Composite component for monitoring: alarms with their topic, the synthetic probe and data
protection findings.
"""

import pulumi

from components.component import Component, LogArgs
from components.compute.python_function import AlarmedFunctionArgs
from components.contract import Stack
from components.data_stores import DataStores
from components.foundation import Foundation
from components.monitoring import synthetic_probe
from components.monitoring.alarms import Alarms, AlarmsArgs
from components.monitoring.data_protection import DataProtection
from components.monitoring.metric_alarms import MonitoredResources
from components.monitoring.synthetic_probe import SyntheticProbe
from components.platform import Platform
from components.private_network import PrivateNetwork


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
        alarms = AlarmsArgs(stack=stack, key_arn=foundation.keys.logs_arn, resources=resources)
        self.alarms = Alarms("alarms", alarms, self.child)
        has_probe = bool(stack.settings.monitoring.probe_interval_minutes)
        self.probe = self._probe(stack, foundation) if has_probe else {}
        findings = LogArgs(stack=stack, logs_key_arn=foundation.keys.logs_arn)
        self.findings_log_group = DataProtection("data-protection", findings, self.child).log_group
        self.register_outputs({})

    def _probe(self, stack: Stack, foundation: Foundation) -> dict[str, pulumi.Input[object]]:
        probe_role = foundation.role_arns[synthetic_probe.NAME]
        args = AlarmedFunctionArgs(
            stack=stack,
            role_arn=probe_role,
            logs_key_arn=foundation.keys.logs_arn,
            topic_arn=self.alarms.topic_arn,
        )
        probe = SyntheticProbe("probe", args, self.child)
        return {
            "function": probe.function,
            "role": probe_role,
            "services": stack.contract.health_urls,
        }
