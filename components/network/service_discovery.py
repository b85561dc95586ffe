"""Cloud Map service discovery for Cores that run in the stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.naming import tags

TTL_S = 10
"""TTL of the DNS records: the maximum time for which a client uses the address of a stopped
task.
"""


class ServiceDiscovery(StackComponent):
    """A private DNS namespace with a service for each Core, in which ECS registers the addresses of
    the tasks.

    Why: Cores have no load balancer and no public address. Their names resolve inside the VPC only.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARN of each Core's service, keyed by the resource name of the Core."""

    def __init__(
        self, name: str, stack: Stack, vpc_id: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(name, stack, opts)
        self.arns = self._services(name, vpc_id) if self.settings.cores else {}
        self.register_outputs({})

    def _services(self, name: str, vpc_id: pulumi.Input[str]) -> dict[str, pulumi.Output[str]]:
        namespace = aws.servicediscovery.PrivateDnsNamespace(
            name,
            name=self.names.core_zone,
            description="Cores that run in the stack",
            vpc=vpc_id,
            tags=tags("none"),
            opts=self.child,
        )
        return {
            core.process_name: aws.servicediscovery.Service(
                core.name,
                name=core.name,
                description=f"Tasks of the Core {core.name}",
                dns_config={
                    "namespace_id": namespace.id,
                    "routing_policy": "MULTIVALUE",
                    "dns_records": [{"type": "A", "ttl": TTL_S}],
                },
                # ECS reports the health of the tasks.
                health_check_custom_config={"failure_threshold": 1},
                tags=tags("none"),
                opts=self.child,
            ).arn
            for core in self.settings.cores
        }
