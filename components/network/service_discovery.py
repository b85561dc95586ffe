"""Names inside the network at which the gateway finds the Cores that run beside it."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.naming import Naming
from components.tags import tags

TTL_S = 10
"""How long the gateway may keep an address: a task that is gone is asked for no longer than this."""


@dataclass(frozen=True, kw_only=True)
class ServiceDiscoveryArgs:
    """names: the stack's names. vpc_id: where the names are known. cores: name of each Core."""

    names: Naming
    vpc_id: pulumi.Input[str]
    core_names: tuple[str, ...]


class ServiceDiscovery(pulumi.ComponentResource):
    """A private DNS zone (Cloud Map) with a name for each Core, which ECS keeps filled with the addresses of its tasks.

    Why: a Core has no load balancer and no public address; the name exists inside the VPC alone. Cost: 0.60 USD a month,
    nothing without a Core. Controls: none of the catalogue.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARN of the registry of each Core, by what everything of it is called."""

    def __init__(self, name: str, args: ServiceDiscoveryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:ServiceDiscovery", name, component_inputs(args), opts)
        self.arns = self._registries(name, args) if args.core_names else {}
        self.register_outputs({"registries": self.arns})

    def _registries(self, name: str, args: ServiceDiscoveryArgs) -> dict[str, pulumi.Output[str]]:
        zone = aws.servicediscovery.PrivateDnsNamespace(
            name,
            name=args.names.core_zone,
            description="Cores that run beside the gateway",
            vpc=args.vpc_id,
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return {
            f"core-{core}": aws.servicediscovery.Service(
                core,
                name=core,
                description=f"Tasks of the Core {core}",
                dns_config=aws.servicediscovery.ServiceDnsConfigArgs(
                    namespace_id=zone.id,
                    routing_policy="MULTIVALUE",
                    dns_records=[aws.servicediscovery.ServiceDnsConfigDnsRecordArgs(type="A", ttl=TTL_S)],
                ),
                # ECS says which tasks are well; Cloud Map takes the others out.
                health_check_custom_config=aws.servicediscovery.ServiceHealthCheckCustomConfigArgs(failure_threshold=1),
                tags=tags("none"),
                opts=pulumi.ResourceOptions(parent=self),
            ).arn
            for core in args.core_names
        }
