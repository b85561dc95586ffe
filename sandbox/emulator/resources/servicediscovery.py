"""Cloud Map: private DNS namespaces and their services."""

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _create_namespace(request: CreateRequest) -> Created:
    """Create the namespace and read its id from the operation, as the provider does."""
    parameters = request.parameters("servicediscovery.create_private_dns_namespace")
    parameters.setdefault("CreatorRequestId", request.registration.urn[-64:])
    operation = request.call("servicediscovery.create_private_dns_namespace", parameters)["OperationId"]
    done = request.call("servicediscovery.get_operation", OperationId=operation)["Operation"]
    identity = done["Targets"]["NAMESPACE"]
    namespace = request.call("servicediscovery.get_namespace", Id=identity)["Namespace"]
    return identity, {"arn": namespace["Arn"], "hostedZone": namespace["Properties"]["DnsProperties"]["HostedZoneId"]}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": ResourceType(create=_create_namespace),
    "aws:servicediscovery/service:Service": ResourceType(
        call="servicediscovery.create_service",
        result="Service",
        id="{Id}",
        outputs={"arn": "{Arn}"},
        ignored={"forceDestroy": PULUMI_ONLY},
    ),
}
