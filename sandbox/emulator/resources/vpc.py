"""VPC: networks, routes, endpoints, flow logs, network ACLs and security groups."""

from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType, Setting

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


TYPES = {
    # The operation changes one attribute at a time.
    "ec2.Vpc": ResourceType(
        "ec2.create_vpc",
        "{VpcId}",
        tag_kind="vpc",
        settings=(
            Setting("ec2.modify_vpc_attribute", ["enableDnsSupport"]),
            Setting("ec2.modify_vpc_attribute", ["enableDnsHostnames"]),
        ),
    ),
    "ec2.Subnet": ResourceType(
        "ec2.create_subnet",
        "{SubnetId}",
        tag_kind="subnet",
        settings=(Setting("ec2.modify_subnet_attribute", ["mapPublicIpOnLaunch"]),),
    ),
    "ec2.InternetGateway": ResourceType(
        "ec2.create_internet_gateway",
        "{InternetGatewayId}",
        tag_kind="internet-gateway",
        delete=["ec2.detach_internet_gateway", "ec2.delete_internet_gateway"],
        settings=(Setting("ec2.attach_internet_gateway", ["vpcId"]),),
    ),
    "ec2.Eip": ResourceType(
        "ec2.allocate_address",
        "{AllocationId}",
        tag_kind="elastic-ip",
        delete="ec2.release_address",
    ),
    "ec2.NatGateway": ResourceType(
        "ec2.create_nat_gateway", "{NatGatewayId}", tag_kind="natgateway"
    ),
    "ec2.RouteTable": ResourceType(
        "ec2.create_route_table", "{RouteTableId}", tag_kind="route-table"
    ),
    "ec2.Route": ResourceType(
        "ec2.create_route", "r-{routeTableId}-{destinationCidrBlock}", update="ec2.replace_route"
    ),
    "ec2.RouteTableAssociation": ResourceType("ec2.associate_route_table", "{AssociationId}"),
    "ec2.VpcEndpoint": ResourceType(
        "ec2.create_vpc_endpoint",
        "{VpcEndpointId}",
        tag_kind="vpc-endpoint",
        outputs={"state": "available"},
        finish=find_prefix_list,
        delete="ec2.delete_vpc_endpoints",
    ),
    "ec2.FlowLog": ResourceType(
        "ec2.create_flow_logs",
        "{FlowLogIds[0]}",
        names={"iamRoleArn": "DeliverLogsPermissionArn"},
        tag_kind="vpc-flow-log",
        prepare=flow_log_source,
    ),
    "ec2.NetworkAcl": ResourceType(
        "ec2.create_network_acl",
        "{NetworkAclId}",
        tag_kind="network-acl",
        names={"action": "RuleAction", "ruleNo": "RuleNumber", "fromPort": "", "toPort": ""},
        finish=configure_network_acl,
        delete=delete_network_acl,
    ),
    "ec2.VpcBlockPublicAccessExclusion": ResourceType(
        "ec2.create_vpc_block_public_access_exclusion",
        "vpcbpa-exclude-{subnetId}",
        tag_kind="vpc-block-public-access-exclusion",
        modelled="moto has no VPC Block Public Access",
    ),
    "ec2.VpcBlockPublicAccessOptions": ResourceType(
        "ec2.modify_vpc_block_public_access_options",
        "{region}",
        modelled="moto has no VPC Block Public Access",
    ),
    "ec2.SecurityGroup": ResourceType(
        "ec2.create_security_group",
        "{GroupId}",
        tag_kind="security-group",
        finish=revoke_default_rule,
    ),
    "ec2.DefaultSecurityGroup": ResourceType(
        create=adopt_default_security_group, update=AGAIN, delete=KEPT
    ),
    "vpc.SecurityGroupIngressRule": ResourceType(
        "ec2.authorize_security_group_ingress",
        "{SecurityGroupRules[0][SecurityGroupRuleId]}",
        tag_kind="security-group-rule",
        outputs={"securityGroupRuleId": "{id}"},
        prepare=rule_permission,
        delete=revoke_rule,
    ),
    "vpc.SecurityGroupEgressRule": ResourceType(
        "ec2.authorize_security_group_egress",
        "{SecurityGroupRules[0][SecurityGroupRuleId]}",
        tag_kind="security-group-rule",
        outputs={"securityGroupRuleId": "{id}"},
        prepare=rule_permission,
        delete=revoke_rule,
    ),
}
