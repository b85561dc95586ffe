"""Route 53 zones and records, and Cloud Map namespaces and services."""

from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, ResourceType


def create_zone(request: CreateRequest) -> Created:
    parameters = request.parameters(
        "route53.create_hosted_zone",
        prepared={
            "CallerReference": request.registration.urn[-128:],
            "HostedZoneConfig": {"Comment": request.take("comment"), "PrivateZone": False},
        },
    )
    created = request.call("route53.create_hosted_zone", parameters)
    identity = created["HostedZone"]["Id"].rpartition("/")[2]
    tags = {"ResourceType": "hostedzone", "ResourceId": identity, "AddTags": request.tag_list()}
    request.call("route53.change_tags_for_resource", tags)
    servers = created["DelegationSet"]["NameServers"]
    return identity, {
        "zoneId": identity,
        "nameServers": servers,
        "arn": f"arn:aws:route53:::hostedzone/{identity}",
    }


def put_record(request: CreateRequest) -> Created:
    """Create or change a record. As with the provider, the creation of a record that exists fails
    without allowOverwrite.
    """
    zone, name, kind = request.take("zoneId"), request.take("name"), request.take("type")
    full = name.rstrip(".")
    record: dict[str, Any] = {"Name": full, "Type": kind}
    aliases, values, ttl = request.take("aliases"), request.take("records"), request.take("ttl")
    if aliases:
        target = "ChangeBatch.Changes.ResourceRecordSet.AliasTarget"
        record["AliasTarget"] = request.part("route53.change_resource_record_sets", target, aliases)
    else:
        record |= {"TTL": int(ttl), "ResourceRecords": [{"Value": value} for value in values]}
    action = (
        "UPSERT"
        if isinstance(request, ChangeRequest) or request.take("allowOverwrite")
        else "CREATE"
    )
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    request.call("route53.change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch)
    return f"{zone}_{full}_{kind}", {"fqdn": full}


def create_namespace(request: CreateRequest) -> Created:
    """Create the namespace and read its ID from the operation, as the provider does."""
    call = "servicediscovery.create_private_dns_namespace"
    prepared = {"CreatorRequestId": request.registration.urn[-64:]}
    operation = request.call(call, request.parameters(call, prepared=prepared))["OperationId"]
    done = request.call("servicediscovery.get_operation", OperationId=operation)["Operation"]
    namespace = request.call("servicediscovery.get_namespace", Id=done["Targets"]["NAMESPACE"])[
        "Namespace"
    ]
    outputs = {
        "arn": namespace["Arn"],
        "hostedZone": namespace["Properties"]["DnsProperties"]["HostedZoneId"],
    }
    return namespace["Id"], outputs


def update_zone(request: ChangeRequest) -> None:
    if "comment" in request.unused_changes:
        comment = request.take("comment") or ""
        request.call("route53.update_hosted_zone_comment", Id=request.old.id, Comment=comment)
    if "tagsAll" in request.changed:
        removed = sorted(set(request.old.outputs["tagsAll"]) - set(request.tags))
        tags = {"AddTags": request.tag_list(), **({"RemoveTagKeys": removed} if removed else {})}
        request.call(
            "route53.change_tags_for_resource",
            tags,
            ResourceType="hostedzone",
            ResourceId=request.old.id,
        )


def delete_zone(request: ChangeRequest) -> None:
    request.call("route53.delete_hosted_zone", Id=request.old.id)


def delete_record(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    zone, name, kind = inputs["zoneId"], f"{inputs['name'].rstrip('.')}.", inputs["type"]
    rows = request.call("route53.list_resource_record_sets", HostedZoneId=zone)[
        "ResourceRecordSets"
    ]
    changes = [
        {"Action": "DELETE", "ResourceRecordSet": row}
        for row in rows
        if (row["Name"], row["Type"]) == (name, kind)
    ]
    if changes:
        request.call(
            "route53.change_resource_record_sets",
            HostedZoneId=zone,
            ChangeBatch={"Changes": changes},
        )


def delete_namespace(request: ChangeRequest) -> None:
    """Delete the namespace, and its hosted zone, which moto keeps."""
    request.call("servicediscovery.delete_namespace", Id=request.old.id)
    request.call("route53.delete_hosted_zone", Id=request.old.outputs["hostedZone"])


TYPES = {
    "route53.Zone": ResourceType(create=create_zone, update=update_zone, delete=delete_zone),
    "route53.Record": ResourceType(
        names={"name": "DNSName", "zoneId": "HostedZoneId"},
        create=put_record,
        update=AGAIN,
        delete=delete_record,
    ),
    "servicediscovery.PrivateDnsNamespace": ResourceType(
        create=create_namespace, delete=delete_namespace, service="servicediscovery"
    ),
    "servicediscovery.Service": ResourceType("servicediscovery.create_service", "{Id}"),
}
