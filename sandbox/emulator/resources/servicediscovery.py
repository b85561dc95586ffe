"""Cloud Map: private DNS namespaces and their services."""

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _create_namespace(request: CreateRequest) -> Created:
    """Create the namespace and read its id from the operation, as the provider does."""
    call = "servicediscovery.create_private_dns_namespace"
    prepared = {"CreatorRequestId": request.registration.urn[-64:]}
    operation = request.call(call, request.parameters(call, prepared=prepared))["OperationId"]
    done = request.call("servicediscovery.get_operation", OperationId=operation)["Operation"]
    namespace = request.call("servicediscovery.get_namespace", Id=done["Targets"]["NAMESPACE"])["Namespace"]
    outputs = {"arn": namespace["Arn"], "hostedZone": namespace["Properties"]["DnsProperties"]["HostedZoneId"]}
    return namespace["Id"], outputs


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": ResourceType(create=_create_namespace),
    "aws:servicediscovery/service:Service": ResourceType(call="servicediscovery.create_service", id="{Id}"),
}
