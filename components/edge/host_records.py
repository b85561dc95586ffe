"""The DNS records of the services."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack


@dataclass(frozen=True, kw_only=True)
class HostTarget:
    """Target of a service's DNS record.

    name, zone_id: Domain name and hosted zone of the load balancer, of the distribution, or of the
        domain of a REST API.
    runs_in: The resource that runs the service. The record is updated after this resource.
    """

    name: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    evaluate_target_health: bool
    runs_in: pulumi.Resource


class HostRecords(StackComponent):
    """An alias record for the host name of each service, and for the wildcard name of the Cores.

    Why: When a service moves between the load balancer, a distribution and a REST API, its record
    is updated in place, because Route 53 rejects a second record with the same name. The record is
    updated after the service runs at its new target and before the old target is deleted. A
    wildcard record applies to names without a record, with any number of labels; the gateway
    responds with 404 to names that are not a Core. Source: Route 53 Developer Guide, "DNS domain
    name format" (2026-11-23).
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        zone_id: pulumi.Input[str],
        targets: Mapping[str, HostTarget],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        records = [
            ("cores" if "*" in host else service, host, target)
            for service, target in targets.items()
            for host in self.contract.host_patterns[service]
        ]
        for resource, host, target in records:
            aws.route53.Record(
                resource,
                zone_id=zone_id,
                name=host,
                type="A",
                aliases=[
                    {
                        "name": target.name,
                        "zone_id": target.zone_id,
                        "evaluate_target_health": target.evaluate_target_health,
                    }
                ],
                # The records of a restored stack replace those of the other stack.
                allow_overwrite=bool(self.settings.recovery.restore.stack) or None,
                opts=self.after(target.runs_in),
            )
        self.register_outputs({})
