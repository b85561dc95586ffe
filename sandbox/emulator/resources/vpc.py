"""VPC: networks, routes, endpoints, flow logs, network ACLs and security groups."""

from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest

_PROTOCOL_NUMBERS = {"tcp": "6", "udp": "17"}
_PORTS = {"fromPort": "FromPort", "toPort": "ToPort"}
_RULE_PEERS = {
    "cidrIpv4": ("IpRanges", "CidrIp"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
}


def _filter(name: str, value: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]}]


def find_prefix_list(request: CreateRequest, endpoint: dict[str, Any]) -> dict[str, Any]:
    if endpoint["VpcEndpointType"] != "Gateway":
        return {}
    lists = request.call("ec2.describe_managed_prefix_lists")["PrefixLists"]
    ids = [
        item["PrefixListId"] for item in lists if item["PrefixListName"] == endpoint["ServiceName"]
    ]
    if not ids:
        raise request.error(f"the emulator has no prefix list for {endpoint['ServiceName']}.")
    return {"prefixListId": ids[0]}


def flow_log_source(request: CreateRequest) -> dict[str, Any]:
    vpc, subnet = request.take("vpcId"), request.take("subnetId")
    return {"ResourceIds": [vpc or subnet], "ResourceType": "VPC" if vpc else "Subnet"}


def configure_network_acl(request: CreateRequest, acl: dict[str, Any]) -> None:
    identity = acl["NetworkAclId"]
    for key, egress in (("ingress", False), ("egress", True)):
        for rule in request.take(key) or []:
            entry = request.part("ec2.create_network_acl_entry", "", rule)
            entry["Protocol"] = _PROTOCOL_NUMBERS.get(entry["Protocol"], entry["Protocol"])
            entry["PortRange"] = {"From": int(rule["fromPort"]), "To": int(rule["toPort"])}
            request.call(
                "ec2.create_network_acl_entry", entry, NetworkAclId=identity, Egress=egress
            )
    for subnet in request.take("subnetIds") or []:
        only = _filter("association.subnet-id", subnet)
        acls = request.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"]
        for row in (row for acl in acls for row in acl["Associations"]):
            if row["SubnetId"] == subnet:
                _associate(request, row, identity)


def _associate(request: CreateRequest, association: dict[str, Any], acl: str) -> None:
    identity = association["NetworkAclAssociationId"]
    request.call("ec2.replace_network_acl_association", AssociationId=identity, NetworkAclId=acl)


def delete_network_acl(request: ChangeRequest) -> None:
    """Give the subnets the default network ACL of the VPC, as the provider does."""
    identity = request.old.id
    (acl,) = request.call("ec2.describe_network_acls", NetworkAclIds=[identity])["NetworkAcls"]
    only = [*_filter("vpc-id", acl["VpcId"]), *_filter("default", "true")]
    (default,) = request.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"]
    for row in acl["Associations"]:
        _associate(request, row, default["NetworkAclId"])
    request.call("ec2.delete_network_acl", NetworkAclId=identity)


def _revoke_rules(request: CreateRequest, group: str, direction: str) -> None:
    rules = request.call("ec2.describe_security_group_rules", Filters=_filter("group-id", group))[
        "SecurityGroupRules"
    ]
    ids = [
        rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] is (direction == "egress")
    ]
    if ids:
        request.call(
            f"ec2.revoke_security_group_{direction}", GroupId=group, SecurityGroupRuleIds=ids
        )


def adopt_default_security_group(request: CreateRequest) -> Created:
    """Adopt the default group of the VPC and remove its rules, as the provider does."""
    only = [*_filter("vpc-id", request.take("vpcId")), *_filter("group-name", "default")]
    (group,) = request.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"]
    identity = group["GroupId"]
    for direction in ("ingress", "egress"):
        _revoke_rules(request, identity, direction)
    request.call("ec2.create_tags", Resources=[identity], Tags=request.tag_list())
    return identity, {"arn": request.arn("ec2", f"security-group/{identity}"), "name": "default"}


def rule_permission(request: CreateRequest) -> dict[str, Any]:
    """The group and the permission of a standalone rule."""
    description = request.take("description")
    note = {"Description": description} if description else {}
    permission: dict[str, Any] = {"IpProtocol": str(request.take("ipProtocol"))}
    permission |= {
        member: int(port)
        for name, member in _PORTS.items()
        if (port := request.take(name)) is not None
    }
    for name, (member, key) in _RULE_PEERS.items():
        if peer := request.take(name):
            permission[member] = [{key: peer, **note}]
    return {"GroupId": request.take("securityGroupId"), "IpPermissions": [permission]}


def revoke_rule(request: ChangeRequest) -> None:
    direction = "ingress" if "Ingress" in request.registration.type else "egress"
    group = request.old.registration.inputs["securityGroupId"]
    ids = [request.old.id]
    request.call(f"ec2.revoke_security_group_{direction}", GroupId=group, SecurityGroupRuleIds=ids)


def revoke_default_rule(request: CreateRequest, group: dict[str, Any]) -> None:
    """Remove the default egress rule, as the provider does."""
    _revoke_rules(request, group["GroupId"], "egress")
