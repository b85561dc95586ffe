"""Cloud Map: private DNS zones and the services in them."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _namespace(make: Make) -> tuple[str, dict[str, Any]]:
    """AWS makes it in the background; the provider waits for the operation and takes the id from it."""
    parameters = make.parameters("servicediscovery.create_private_dns_namespace")
    parameters.setdefault("CreatorRequestId", make.registration.urn[-64:])
    operation = make.call("servicediscovery.create_private_dns_namespace", parameters)["OperationId"]
    done = make.call("servicediscovery.get_operation", OperationId=operation)["Operation"]
    identity = done["Targets"]["NAMESPACE"]
    namespace = make.call("servicediscovery.get_namespace", Id=identity)["Namespace"]
    return identity, {"arn": namespace["Arn"], "hostedZone": namespace["Properties"]["DnsProperties"]["HostedZoneId"]}


ROWS: dict[str, Row] = {
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": Row(make=_namespace),
    "aws:servicediscovery/service:Service": Row(
        call="servicediscovery.create_service",
        reply="Service",
        id="{Id}",
        outputs={"arn": "{Arn}"},
        ignored={"forceDestroy": HOW_PULUMI_WORKS},
    ),
}
