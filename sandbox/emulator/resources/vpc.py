"""VPC: networks, routes, endpoints, flow logs, network ACLs and security groups."""

import hashlib
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType

_ARN = "arn:aws:ec2:{region}:{account}:"


def _first(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def _configure_vpc(request: CreateRequest, vpc: dict[str, Any]) -> dict[str, Any]:
    """Set the DNS attributes and find the default security group, route table and network ACL."""
    for name, member in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        if request.take(name) is not None:
            request.call("ec2.modify_vpc_attribute", {"VpcId": vpc["VpcId"], member: {"Value": request.peek(name)}})
    only = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    return {
        "defaultSecurityGroupId": _first(request.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"])["GroupId"],
        "mainRouteTableId": _first(request.call("ec2.describe_route_tables", Filters=only)["RouteTables"])["RouteTableId"],
        "defaultRouteTableId": _first(request.call("ec2.describe_route_tables", Filters=only)["RouteTables"])["RouteTableId"],
        "defaultNetworkAclId": _first(request.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"])["NetworkAclId"],
    }


def _set_public_ip(request: CreateRequest, subnet: dict[str, Any]) -> dict[str, Any]:
    if request.take("mapPublicIpOnLaunch") is not None:
        value = {"Value": request.peek("mapPublicIpOnLaunch")}
        request.call("ec2.modify_subnet_attribute", SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch=value)
    return {}


def _attach_internet_gateway(request: CreateRequest, gateway: dict[str, Any]) -> dict[str, Any]:
    vpc = request.take("vpcId")
    if vpc:
        request.call("ec2.attach_internet_gateway", InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
    return {}


def _create_route(request: CreateRequest) -> Created:
    """The id has the form of the provider: route table and a hash of the destination."""
    request.call("ec2.create_route", request.parameters("ec2.create_route"))
    destinations = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
    destination = next((request.peek(name) for name in destinations if request.peek(name)), "")
    digest = int(hashlib.sha256(str(destination).encode()).hexdigest()[:8], 16)
    return f"r-{request.peek('routeTableId')}{digest}", {"state": "active", "origin": "CreateRoute"}


def _find_prefix_list(request: CreateRequest, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the prefix list of a gateway endpoint."""
    if endpoint.get("VpcEndpointType") != "Gateway":
        return {
            "dnsEntries": [
                {"dnsName": entry.get("DnsName"), "hostedZoneId": entry.get("HostedZoneId")}
                for entry in endpoint.get("DnsEntries", [])
            ]
        }
    lists = request.call("ec2.describe_managed_prefix_lists")["PrefixLists"]
    ids = [item["PrefixListId"] for item in lists if item["PrefixListName"] == endpoint["ServiceName"]]
    if not ids:
        raise request.error(f"the emulator has no prefix list for {endpoint['ServiceName']}.")
    return {"prefixListId": ids[0], "cidrBlocks": []}


def _create_flow_log(request: CreateRequest) -> Created:
    for name, kind in (("vpcId", "VPC"), ("subnetId", "Subnet"), ("eniId", "NetworkInterface")):
        if request.peek(name):
            target, resource_type = request.take(name), kind
            break
    else:
        raise request.error("one of vpcId, subnetId or eniId is required.")
    parameters = request.parameters(
        "ec2.create_flow_logs", names={"iamRoleArn": "DeliverLogsPermissionArn"}, tag_kind="vpc-flow-log"
    )
    created = request.call("ec2.create_flow_logs", parameters, ResourceIds=[target], ResourceType=resource_type)
    if created.get("Unsuccessful"):
        raise request.error(f"AWS (emulated) rejects the flow log: {created['Unsuccessful'][0]['Error']['Message']}")
    identity = created["FlowLogIds"][0]
    return identity, {"arn": request.arn("ec2", f"vpc-flow-log/{identity}")}


def _create_network_acl(request: CreateRequest) -> Created:
    """Create the network ACL, its entries and its subnet associations."""
    parameters = request.parameters("ec2.create_network_acl", tag_kind="network-acl")
    identity = request.call("ec2.create_network_acl", parameters)["NetworkAcl"]["NetworkAclId"]
    names = {"action": "RuleAction", "ruleNo": "RuleNumber", "fromPort": "", "toPort": ""}
    for key, egress in (("ingress", False), ("egress", True)):
        for rule in request.take(key) or []:
            entry = {
                names.get(name) or f"{name[0].upper()}{name[1:]}": value for name, value in rule.items() if names.get(name) != ""
            }
            entry |= {
                "Protocol": {"tcp": "6", "udp": "17", "icmp": "1"}.get(str(rule["protocol"]), str(rule["protocol"])),
                "PortRange": {"From": int(rule["fromPort"]), "To": int(rule["toPort"])},
                "RuleNumber": int(rule["ruleNo"]),
            }
            request.call("ec2.create_network_acl_entry", entry, NetworkAclId=identity, Egress=egress)
    for subnet in request.take("subnetIds") or []:
        acls = request.call("ec2.describe_network_acls", Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])
        (association,) = (a for acl in acls["NetworkAcls"] for a in acl["Associations"] if a["SubnetId"] == subnet)
        request.call(
            "ec2.replace_network_acl_association",
            AssociationId=association["NetworkAclAssociationId"],
            NetworkAclId=identity,
        )
    return identity, {
        "arn": request.arn("ec2", f"network-acl/{identity}"),
        "ownerId": request.account,
    }


def _validate_exclusion(request: CreateRequest) -> Created:
    parameters = request.parameters("ec2.create_vpc_block_public_access_exclusion", tag_kind="vpc-block-public-access-exclusion")
    request.check("ec2.create_vpc_block_public_access_exclusion", parameters)
    target = request.peek("subnetId") or request.peek("vpcId")
    identity = f"vpcbpa-exclude-{hashlib.sha256(str(target).encode()).hexdigest()[:17]}"
    kind = "subnet" if request.peek("subnetId") else "vpc"
    return identity, {"resourceArn": request.arn("ec2", f"{kind}/{target}")}


def _validate_block_public_access(request: CreateRequest) -> Created:
    operation = "ec2.modify_vpc_block_public_access_options"
    request.check(operation, request.parameters(operation))
    return request.region, {"awsAccountId": request.account, "awsRegion": request.region}


_NO_BLOCKING = "moto has no VPC block public access"


def _revoke_all(request: CreateRequest, group: str, ingress: bool) -> None:
    direction = "ingress" if ingress else "egress"
    rules = request.call("ec2.describe_security_group_rules", Filters=[{"Name": "group-id", "Values": [group]}])[
        "SecurityGroupRules"
    ]
    ids = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] is not ingress]
    if ids:
        request.call(f"ec2.revoke_security_group_{direction}", GroupId=group, SecurityGroupRuleIds=ids)


_RULE = {
    "protocol": "IpProtocol",
    "cidrBlocks": "",
    "securityGroups": "",
    "self": "",
    "description": "",
    "ipv6CidrBlocks": "",
    "prefixListIds": "",
}


def _inline_rules(request: CreateRequest, group: str) -> None:
    for name in ("ingress", "egress"):
        for rule in request.take(name) or []:
            permission = request.part(f"ec2.authorize_security_group_{name}", "IpPermissions", [rule], _RULE)[0]
            note = {"Description": rule["description"]} if rule.get("description") else {}
            permission["IpRanges"] = [{"CidrIp": cidr, **note} for cidr in rule.get("cidrBlocks", [])]
            permission["Ipv6Ranges"] = [{"CidrIpv6": cidr, **note} for cidr in rule.get("ipv6CidrBlocks", [])]
            permission["PrefixListIds"] = [{"PrefixListId": item, **note} for item in rule.get("prefixListIds", [])]
            others = [*rule.get("securityGroups", []), *([group] if rule.get("self") else [])]
            permission["UserIdGroupPairs"] = [{"GroupId": other, **note} for other in others]
            request.call(f"ec2.authorize_security_group_{name}", GroupId=group, IpPermissions=[permission])


def _configure_security_group(request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    """Remove the default egress rule, as the provider does, and add the inline rules."""
    _revoke_all(request, group["GroupId"], ingress=False)
    _inline_rules(request, group["GroupId"])
    return {
        "arn": request.arn("ec2", f"security-group/{group['GroupId']}"),
        "ownerId": request.account,
    }


def _adopt_default_security_group(request: CreateRequest) -> Created:
    """Adopt the default group of the VPC and remove its rules, as the provider does."""
    only = [{"Name": "vpc-id", "Values": [request.take("vpcId")]}, {"Name": "group-name", "Values": ["default"]}]
    groups = request.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"]
    if not groups:
        raise request.error("the VPC has no default security group.")
    group = groups[0]["GroupId"]
    _revoke_all(request, group, ingress=True)
    _revoke_all(request, group, ingress=False)
    _inline_rules(request, group)
    if request.tags:
        request.call("ec2.create_tags", Resources=[group], Tags=request.tag_list())
    arn = request.arn("ec2", f"security-group/{group}")
    return group, {"arn": arn, "name": "default", "ownerId": request.account, "description": groups[0]["Description"]}


def _rule(direction: str) -> ResourceType:
    def create_rule(request: CreateRequest) -> Created:
        note = {"Description": request.peek("description")} if request.take("description") else {}
        permission: dict[str, Any] = {"IpProtocol": str(request.take("ipProtocol"))}
        for name, member in (("fromPort", "FromPort"), ("toPort", "ToPort")):
            if request.take(name) is not None:
                permission[member] = int(request.peek(name))
        if request.take("cidrIpv4"):
            permission["IpRanges"] = [{"CidrIp": request.peek("cidrIpv4"), **note}]
        if request.take("cidrIpv6"):
            permission["Ipv6Ranges"] = [{"CidrIpv6": request.peek("cidrIpv6"), **note}]
        if request.take("prefixListId"):
            permission["PrefixListIds"] = [{"PrefixListId": request.peek("prefixListId"), **note}]
        if request.take("referencedSecurityGroupId"):
            permission["UserIdGroupPairs"] = [{"GroupId": request.peek("referencedSecurityGroupId"), **note}]
        call = f"ec2.authorize_security_group_{direction}"
        tags: dict[str, Any] = (
            {"TagSpecifications": [{"ResourceType": "security-group-rule", "Tags": request.tag_list()}]} if request.tags else {}
        )
        group = request.take("securityGroupId")
        created = request.call(call, GroupId=group, IpPermissions=[permission], **tags)
        identity = created["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        if note:
            moto_patches.set_rule_description(request, group, identity, request.peek("description"))
        arn = request.arn("ec2", f"security-group-rule/{identity}")
        return identity, {"arn": arn, "securityGroupRuleId": identity}

    return ResourceType(create=create_rule)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ec2/vpc:Vpc": ResourceType(
        call="ec2.create_vpc",
        result="Vpc",
        id="{VpcId}",
        tag_kind="vpc",
        finish=_configure_vpc,
        handled=("enableDnsSupport", "enableDnsHostnames"),
        outputs={"arn": _ARN + "vpc/{VpcId}", "ownerId": "{account}"},
    ),
    "aws:ec2/subnet:Subnet": ResourceType(
        call="ec2.create_subnet",
        result="Subnet",
        id="{SubnetId}",
        tag_kind="subnet",
        finish=_set_public_ip,
        handled=("mapPublicIpOnLaunch",),
        outputs={"arn": _ARN + "subnet/{SubnetId}", "ownerId": "{account}"},
    ),
    "aws:ec2/internetGateway:InternetGateway": ResourceType(
        call="ec2.create_internet_gateway",
        result="InternetGateway",
        id="{InternetGatewayId}",
        tag_kind="internet-gateway",
        finish=_attach_internet_gateway,
        handled=("vpcId",),
        outputs={"arn": _ARN + "internet-gateway/{InternetGatewayId}"},
    ),
    "aws:ec2/eip:Eip": ResourceType(
        call="ec2.allocate_address",
        id="{AllocationId}",
        tag_kind="elastic-ip",
        outputs={"arn": _ARN + "elastic-ip/{AllocationId}", "allocationId": "{AllocationId}", "publicIp": "{PublicIp}"},
    ),
    "aws:ec2/natGateway:NatGateway": ResourceType(
        call="ec2.create_nat_gateway",
        result="NatGateway",
        id="{NatGatewayId}",
        tag_kind="natgateway",
    ),
    "aws:ec2/routeTable:RouteTable": ResourceType(
        call="ec2.create_route_table",
        result="RouteTable",
        id="{RouteTableId}",
        tag_kind="route-table",
        outputs={"arn": _ARN + "route-table/{RouteTableId}", "ownerId": "{account}"},
    ),
    "aws:ec2/route:Route": ResourceType(create=_create_route),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ResourceType(call="ec2.associate_route_table", id="{AssociationId}"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceType(
        call="ec2.create_vpc_endpoint",
        result="VpcEndpoint",
        id="{VpcEndpointId}",
        tag_kind="vpc-endpoint",
        finish=_find_prefix_list,
        names={"policy": "PolicyDocument"},
        outputs={"arn": _ARN + "vpc-endpoint/{VpcEndpointId}", "state": "available"},
        ignored={"autoAccept": PULUMI_ONLY},
    ),
    "aws:ec2/flowLog:FlowLog": ResourceType(create=_create_flow_log),
    "aws:ec2/networkAcl:NetworkAcl": ResourceType(create=_create_network_acl),
    "aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion": ResourceType(
        create=_validate_exclusion, modelled=_NO_BLOCKING
    ),
    "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions": ResourceType(
        create=_validate_block_public_access, modelled=_NO_BLOCKING
    ),
    "aws:ec2/securityGroup:SecurityGroup": ResourceType(
        call="ec2.create_security_group",
        id="{GroupId}",
        names={"name": "GroupName"},
        tag_kind="security-group",
        finish=_configure_security_group,
        handled=("ingress", "egress"),
        ignored={"revokeRulesOnDelete": PULUMI_ONLY},
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ResourceType(
        create=_adopt_default_security_group, ignored={"revokeRulesOnDelete": PULUMI_ONLY}
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule("egress"),
}
