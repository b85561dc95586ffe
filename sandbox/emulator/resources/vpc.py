"""VPC: networks, routes, endpoints, flow logs, network ACLs and security groups."""

import hashlib
from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, FINISH, KEPT, ResourceType

_NO_BLOCKING = "moto has no VPC Block Public Access"
_DEFAULT_RULE = 32767
"""The rule of every network ACL that denies what no other rule allows."""
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


def _configure_vpc(request: CreateRequest, vpc: dict[str, Any]) -> None:
    for name, member in (
        ("enableDnsSupport", "EnableDnsSupport"),
        ("enableDnsHostnames", "EnableDnsHostnames"),
    ):
        request.call(
            "ec2.modify_vpc_attribute",
            {"VpcId": vpc["VpcId"], member: {"Value": request.take(name)}},
        )


def _set_public_ip(request: CreateRequest, subnet: dict[str, Any]) -> None:
    value = {"Value": request.take("mapPublicIpOnLaunch")}
    request.call(
        "ec2.modify_subnet_attribute", SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch=value
    )


def _attach_internet_gateway(request: CreateRequest, gateway: dict[str, Any]) -> None:
    gateway_id, vpc = gateway["InternetGatewayId"], request.take("vpcId")
    request.call("ec2.attach_internet_gateway", InternetGatewayId=gateway_id, VpcId=vpc)


def _create_route(request: CreateRequest) -> Created:
    """Create the route. The ID has the provider's format: the route table and a hash of the
    destination.
    """
    request.call("ec2.create_route", request.parameters("ec2.create_route"))
    digest = int(hashlib.sha256(request.peek("destinationCidrBlock").encode()).hexdigest()[:8], 16)
    return f"r-{request.peek('routeTableId')}{digest}", {"state": "active", "origin": "CreateRoute"}


def _replace_route(request: ChangeRequest) -> None:
    request.call("ec2.replace_route", request.parameters("ec2.replace_route"))


def _delete_route(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    request.call(
        "ec2.delete_route",
        DestinationCidrBlock=inputs["destinationCidrBlock"],
        RouteTableId=inputs["routeTableId"],
    )


def _delete_internet_gateway(request: ChangeRequest) -> None:
    gateway, vpc = request.old.id, request.old.registration.inputs.get("vpcId")
    if vpc:
        request.call("ec2.detach_internet_gateway", InternetGatewayId=gateway, VpcId=vpc)
    request.call("ec2.delete_internet_gateway", InternetGatewayId=gateway)


def _release_address(request: ChangeRequest) -> None:
    request.call("ec2.release_address", AllocationId=request.old.id)


def _modify_endpoint(request: ChangeRequest) -> None:
    """Change the policy, and add and remove route tables, subnets and security groups."""
    parameters: dict[str, Any] = {}
    if "policy" in request.unused_changes:
        parameters["PolicyDocument"] = request.take("policy")
    for name, member in (
        ("routeTableIds", "RouteTableIds"),
        ("subnetIds", "SubnetIds"),
        ("securityGroupIds", "SecurityGroupIds"),
    ):
        if name in request.unused_changes:
            old, new = (
                set(request.old.registration.inputs.get(name) or []),
                set(request.take(name) or []),
            )
            lists = {f"Add{member}": sorted(new - old), f"Remove{member}": sorted(old - new)}
            parameters |= {key: value for key, value in lists.items() if value}
    if parameters:
        request.call("ec2.modify_vpc_endpoint", parameters, VpcEndpointId=request.old.id)


def _find_prefix_list(request: CreateRequest, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the prefix list of a gateway endpoint."""
    if endpoint["VpcEndpointType"] != "Gateway":
        return {}
    lists = request.call("ec2.describe_managed_prefix_lists")["PrefixLists"]
    ids = [
        item["PrefixListId"] for item in lists if item["PrefixListName"] == endpoint["ServiceName"]
    ]
    if not ids:
        raise request.error(f"the emulator has no prefix list for {endpoint['ServiceName']}.")
    return {"prefixListId": ids[0]}


def _flow_log_source(request: CreateRequest) -> dict[str, Any]:
    vpc, subnet = request.take("vpcId"), request.take("subnetId")
    return {"ResourceIds": [vpc or subnet], "ResourceType": "VPC" if vpc else "Subnet"}


def _reject_unsuccessful(request: CreateRequest, response: dict[str, Any]) -> None:
    if response.get("Unsuccessful"):
        raise request.error(
            f"AWS (emulated) rejects the flow log: "
            f"{response['Unsuccessful'][0]['Error']['Message']}"
        )


def _configure_network_acl(request: CreateRequest, acl: dict[str, Any]) -> None:
    """Create the entries and the subnet associations."""
    identity = acl["NetworkAclId"]
    for key, egress in (("ingress", False), ("egress", True)):
        for rule in request.take(key) or []:
            names = {"action": "RuleAction", "ruleNo": "RuleNumber", "fromPort": "", "toPort": ""}
            entry = request.part("ec2.create_network_acl_entry", "", rule, names)
            entry["Protocol"] = _PROTOCOL_NUMBERS.get(entry["Protocol"], entry["Protocol"])
            entry["PortRange"] = {"From": int(rule["fromPort"]), "To": int(rule["toPort"])}
            request.call(
                "ec2.create_network_acl_entry", entry, NetworkAclId=identity, Egress=egress
            )
    for subnet in request.take("subnetIds") or []:
        acls = request.call(
            "ec2.describe_network_acls", Filters=_filter("association.subnet-id", subnet)
        )["NetworkAcls"]
        (old,) = (
            row["NetworkAclAssociationId"]
            for acl in acls
            for row in acl["Associations"]
            if row["SubnetId"] == subnet
        )
        request.call(
            "ec2.replace_network_acl_association", AssociationId=old, NetworkAclId=identity
        )


def _clear_network_acl(request: ChangeRequest) -> None:
    """Delete the entries, and give the subnets the default network ACL of the VPC, as the provider
    does.
    """
    identity = request.old.id
    (acl,) = request.call("ec2.describe_network_acls", NetworkAclIds=[identity])["NetworkAcls"]
    only = [*_filter("vpc-id", acl["VpcId"]), *_filter("default", "true")]
    (default,) = request.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"]
    for row in acl["Associations"]:
        parameters = {
            "AssociationId": row["NetworkAclAssociationId"],
            "NetworkAclId": default["NetworkAclId"],
        }
        request.call("ec2.replace_network_acl_association", parameters)
    for entry in acl["Entries"]:
        if entry["RuleNumber"] != _DEFAULT_RULE:
            key = {"RuleNumber": entry["RuleNumber"], "Egress": entry["Egress"]}
            request.call("ec2.delete_network_acl_entry", key, NetworkAclId=identity)


def _update_network_acl(request: ChangeRequest) -> None:
    if {"ingress", "egress", "subnetIds"} & request.unused_changes:
        _clear_network_acl(request)
        _configure_network_acl(request, {"NetworkAclId": request.old.id})


def _delete_network_acl(request: ChangeRequest) -> None:
    _clear_network_acl(request)
    request.call("ec2.delete_network_acl", NetworkAclId=request.old.id)


def _delete_rule(request: ChangeRequest) -> None:
    direction = "ingress" if "Ingress" in request.registration.type else "egress"
    group = request.old.registration.inputs["securityGroupId"]
    request.call(
        f"ec2.revoke_security_group_{direction}",
        GroupId=group,
        SecurityGroupRuleIds=[request.old.id],
    )


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


def _adopt_default_security_group(request: CreateRequest) -> Created:
    """Adopt the default group of the VPC and remove its rules, as the provider does."""
    only = [*_filter("vpc-id", request.take("vpcId")), *_filter("group-name", "default")]
    (group,) = request.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"]
    identity = group["GroupId"]
    for direction in ("ingress", "egress"):
        _revoke_rules(request, identity, direction)
    request.call("ec2.create_tags", Resources=[identity], Tags=request.tag_list())
    return identity, {"arn": request.arn("ec2", f"security-group/{identity}"), "name": "default"}


def _create_rule(request: CreateRequest) -> Created:
    """Create a standalone rule with an `authorize` call for its direction."""
    call = f"ec2.authorize_security_group_{'ingress' if 'Ingress' in request.registration.type else 'egress'}"  # noqa: E501
    group, description = request.take("securityGroupId"), request.take("description")
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
    tags = request.parameters(
        call, skip=request.registration.inputs, tag_kind="security-group-rule"
    )
    created = request.call(call, tags, GroupId=group, IpPermissions=[permission])
    identity = created["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return identity, {
        "arn": request.arn("ec2", f"security-group-rule/{identity}"),
        "securityGroupRuleId": identity,
    }


_RULE = ResourceType(create=_create_rule, delete=_delete_rule, service="ec2")

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ec2/vpc:Vpc": ResourceType(
        call="ec2.create_vpc",
        id="{VpcId}",
        tag_kind="vpc",
        finish=_configure_vpc,
        update=FINISH,
    ),
    "aws:ec2/subnet:Subnet": ResourceType(
        call="ec2.create_subnet",
        id="{SubnetId}",
        tag_kind="subnet",
        finish=_set_public_ip,
        update=FINISH,
    ),
    "aws:ec2/internetGateway:InternetGateway": ResourceType(
        call="ec2.create_internet_gateway",
        id="{InternetGatewayId}",
        tag_kind="internet-gateway",
        finish=_attach_internet_gateway,
        delete=_delete_internet_gateway,
    ),
    "aws:ec2/eip:Eip": ResourceType(
        call="ec2.allocate_address",
        id="{AllocationId}",
        tag_kind="elastic-ip",
        delete=_release_address,
    ),
    "aws:ec2/natGateway:NatGateway": ResourceType(
        call="ec2.create_nat_gateway", id="{NatGatewayId}", tag_kind="natgateway"
    ),
    "aws:ec2/routeTable:RouteTable": ResourceType(
        call="ec2.create_route_table", id="{RouteTableId}", tag_kind="route-table"
    ),
    "aws:ec2/route:Route": ResourceType(
        create=_create_route, update=_replace_route, delete=_delete_route
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ResourceType(
        call="ec2.associate_route_table", id="{AssociationId}"
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceType(
        call="ec2.create_vpc_endpoint",
        id="{VpcEndpointId}",
        tag_kind="vpc-endpoint",
        finish=_find_prefix_list,
        update=_modify_endpoint,
        delete="ec2.delete_vpc_endpoints",
        outputs={"state": "available"},
    ),
    "aws:ec2/flowLog:FlowLog": ResourceType(
        call="ec2.create_flow_logs",
        id="{FlowLogIds[0]}",
        names={"iamRoleArn": "DeliverLogsPermissionArn"},
        tag_kind="vpc-flow-log",
        prepare=_flow_log_source,
        finish=_reject_unsuccessful,
    ),
    "aws:ec2/networkAcl:NetworkAcl": ResourceType(
        call="ec2.create_network_acl",
        id="{NetworkAclId}",
        tag_kind="network-acl",
        finish=_configure_network_acl,
        update=_update_network_acl,
        delete=_delete_network_acl,
    ),
    "aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion": ResourceType(
        call="ec2.create_vpc_block_public_access_exclusion",
        id="vpcbpa-exclude-{subnetId}",
        tag_kind="vpc-block-public-access-exclusion",
        modelled=_NO_BLOCKING,
    ),
    "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions": ResourceType(
        call="ec2.modify_vpc_block_public_access_options",
        id="{region}",
        modelled=_NO_BLOCKING,
    ),
    "aws:ec2/securityGroup:SecurityGroup": ResourceType(
        call="ec2.create_security_group",
        id="{GroupId}",
        tag_kind="security-group",
        # The provider removes the default egress rule.
        finish=lambda request, group: _revoke_rules(request, group["GroupId"], "egress"),
        delete=lambda request: request.call("ec2.delete_security_group", GroupId=request.old.id),
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ResourceType(
        create=_adopt_default_security_group, update=AGAIN, delete=KEPT
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _RULE,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _RULE,
}
