"""Cloud Map service discovery for Cores that run in the stack."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.naming import tags

TTL_S = 10
"""TTL of the DNS records: the maximum time for which a client uses the address of a stopped
task.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDiscoveryArgs(StackArgs):
    """Arguments of `ServiceDiscovery`.

    vpc_id: VPC of the private DNS namespace.
    """

    vpc_id: pulumi.Input[str]


class ServiceDiscovery(Component):
    """A private DNS namespace with a service for each Core, in which ECS registers the addresses of
    the tasks.

    Why: Cores have no load balancer and no public address. Their names resolve inside the VPC only.
    Cost: 0.60 USD a month, none without a Core. Controls: none.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARN of each Core's service, keyed by the resource name of the Core."""

    def __init__(self, name: str, args: ServiceDiscoveryArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("gatehouse:network:ServiceDiscovery", name, args, opts)
        self.arns = self._services(name, args) if args.settings.cores else {}
        self.register_outputs({"arns": self.arns})

    def _services(self, name: str, args: ServiceDiscoveryArgs) -> dict[str, pulumi.Output[str]]:
        namespace = aws.servicediscovery.PrivateDnsNamespace(
            name,
            name=args.names.core_zone,
            description="Cores that run in the stack",
            vpc=args.vpc_id,
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
            for core in args.settings.cores
        }
