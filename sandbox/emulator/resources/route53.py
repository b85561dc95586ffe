"""Route 53 zones and records."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _zone(make: Make) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {"Name": make.take("name"), "CallerReference": make.registration.urn[-128:]}
    comment, networks = make.take("comment"), make.take("vpcs") or []
    if comment:
        parameters["HostedZoneConfig"] = {"Comment": comment, "PrivateZone": bool(networks)}
    if networks:
        parameters["VPC"] = {"VPCId": networks[0]["vpcId"], "VPCRegion": networks[0].get("vpcRegion") or make.region}
    answer = make.call("route53.create_hosted_zone", parameters)
    identity = answer["HostedZone"]["Id"].rpartition("/")[2]
    if make.tags:
        make.call("route53.change_tags_for_resource", ResourceType="hostedzone", ResourceId=identity, AddTags=make.tag_list())
    servers = answer.get("DelegationSet", {}).get("NameServers", [])
    arn = f"arn:aws:route53:::hostedzone/{identity}"
    return identity, {
        "zoneId": identity,
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else "",
        "arn": arn,
    }


def _record(make: Make) -> tuple[str, dict[str, Any]]:
    zone, name, kind = make.take("zoneId"), make.take("name"), make.take("type")
    origin = make.call("route53.get_hosted_zone", Id=zone)["HostedZone"]["Name"].rstrip(".")
    full = name.rstrip(".")
    full = full if full == origin or full.endswith(f".{origin}") else f"{full}.{origin}" if full else origin
    record: dict[str, Any] = {"Name": full, "Type": kind}
    aliases, values, ttl = make.take("aliases"), make.take("records"), make.take("ttl")
    if aliases:
        names = {"name": "DNSName", "zoneId": "HostedZoneId"}
        shape: Any = make.input_shape("route53.change_resource_record_sets")
        target = shape.members["ChangeBatch"].members["Changes"].member.members["ResourceRecordSet"].members["AliasTarget"]
        record["AliasTarget"] = make.to_api(aliases, target, "aliases", names)
    else:
        record |= {"TTL": int(ttl), "ResourceRecords": [{"Value": value} for value in values]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    make.call("route53.change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch)
    return f"{zone}_{full}_{kind}", {"fqdn": full}


ROWS: dict[str, Row] = {
    "aws:route53/zone:Zone": Row(make=_zone, ignored={"forceDestroy": HOW_PULUMI_WORKS}),
    "aws:route53/record:Record": Row(make=_record, ignored={"allowOverwrite": HOW_PULUMI_WORKS}),
}
