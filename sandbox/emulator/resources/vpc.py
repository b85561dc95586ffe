"""VPC: networks, routes, endpoints, flow logs, network ACLs and security groups."""

import hashlib
from typing import Any

from sandbox.emulator import moto_state
from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row

_ARN = "arn:aws:ec2:{region}:{account}:"


def _first(answer: list[dict[str, Any]]) -> dict[str, Any]:
    return answer[0]


def _vpc_details(make: Make, vpc: dict[str, Any]) -> dict[str, Any]:
    """DNS attributes are set by calls of their own; every VPC comes with a group, a table and an ACL."""
    for name, member in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        if make.take(name) is not None:
            make.call("ec2.modify_vpc_attribute", {"VpcId": vpc["VpcId"], member: {"Value": make.peek(name)}})
    only = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    return {
        "defaultSecurityGroupId": _first(make.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"])["GroupId"],
        "mainRouteTableId": _first(make.call("ec2.describe_route_tables", Filters=only)["RouteTables"])["RouteTableId"],
        "defaultRouteTableId": _first(make.call("ec2.describe_route_tables", Filters=only)["RouteTables"])["RouteTableId"],
        "defaultNetworkAclId": _first(make.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"])["NetworkAclId"],
    }


def _subnet_public_addresses(make: Make, subnet: dict[str, Any]) -> dict[str, Any]:
    if make.take("mapPublicIpOnLaunch") is not None:
        value = {"Value": make.peek("mapPublicIpOnLaunch")}
        make.call("ec2.modify_subnet_attribute", SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch=value)
    return {}


def _attach_gateway(make: Make, gateway: dict[str, Any]) -> dict[str, Any]:
    vpc = make.take("vpcId")
    if vpc:
        make.call("ec2.attach_internet_gateway", InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
    return {}


def _route(make: Make) -> tuple[str, dict[str, Any]]:
    """The provider names a route after its table and a hash of its destination; the form is kept."""
    make.call("ec2.create_route", make.parameters("ec2.create_route"))
    destinations = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
    destination = next((make.peek(name) for name in destinations if make.peek(name)), "")
    digest = int(hashlib.sha256(str(destination).encode()).hexdigest()[:8], 16)
    return f"r-{make.peek('routeTableId')}{digest}", {"state": "active", "origin": "CreateRoute"}


def _prefix_list(make: Make, endpoint: dict[str, Any]) -> dict[str, Any]:
    """A gateway endpoint is reached by a prefix list of its service."""
    if endpoint.get("VpcEndpointType") != "Gateway":
        return {
            "dnsEntries": [
                {"dnsName": entry.get("DnsName"), "hostedZoneId": entry.get("HostedZoneId")}
                for entry in endpoint.get("DnsEntries", [])
            ]
        }
    lists = make.call("ec2.describe_managed_prefix_lists")["PrefixLists"]
    found = [item["PrefixListId"] for item in lists if item["PrefixListName"] == endpoint["ServiceName"]]
    if not found:
        raise make.error(f"the emulator has no prefix list for {endpoint['ServiceName']}.")
    return {"prefixListId": found[0], "cidrBlocks": []}


def _flow_log(make: Make) -> tuple[str, dict[str, Any]]:
    for name, kind in (("vpcId", "VPC"), ("subnetId", "Subnet"), ("eniId", "NetworkInterface")):
        if make.peek(name):
            target, resource_type = make.take(name), kind
            break
    else:
        raise make.error("a flow log needs vpcId, subnetId or eniId.")
    parameters = make.parameters(
        "ec2.create_flow_logs", names={"iamRoleArn": "DeliverLogsPermissionArn"}, tag_kind="vpc-flow-log"
    )
    answer = make.call("ec2.create_flow_logs", parameters, ResourceIds=[target], ResourceType=resource_type)
    if answer.get("Unsuccessful"):
        raise make.error(f"AWS (emulated) refuses the flow log: {answer['Unsuccessful'][0]['Error']['Message']}")
    identity = answer["FlowLogIds"][0]
    return identity, {"arn": f"arn:aws:ec2:{make.region}:{make.account}:vpc-flow-log/{identity}"}


def _acl(make: Make) -> tuple[str, dict[str, Any]]:
    """The rules and the subnets of an ACL are calls of their own."""
    parameters = make.parameters("ec2.create_network_acl", tag_kind="network-acl")
    identity = make.call("ec2.create_network_acl", parameters)["NetworkAcl"]["NetworkAclId"]
    names = {"action": "RuleAction", "ruleNo": "RuleNumber", "fromPort": "", "toPort": ""}
    for key, leaving in (("ingress", False), ("egress", True)):
        for rule in make.take(key) or []:
            entry = {
                names.get(name) or f"{name[0].upper()}{name[1:]}": value for name, value in rule.items() if names.get(name) != ""
            }
            entry |= {
                "Protocol": {"tcp": "6", "udp": "17", "icmp": "1"}.get(str(rule["protocol"]), str(rule["protocol"])),
                "PortRange": {"From": int(rule["fromPort"]), "To": int(rule["toPort"])},
                "RuleNumber": int(rule["ruleNo"]),
            }
            make.call("ec2.create_network_acl_entry", entry, NetworkAclId=identity, Egress=leaving)
    for subnet in make.take("subnetIds") or []:
        held = make.call("ec2.describe_network_acls", Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])
        (association,) = (a for acl in held["NetworkAcls"] for a in acl["Associations"] if a["SubnetId"] == subnet)
        make.call(
            "ec2.replace_network_acl_association",
            AssociationId=association["NetworkAclAssociationId"],
            NetworkAclId=identity,
        )
    return identity, {
        "arn": f"arn:aws:ec2:{make.region}:{make.account}:network-acl/{identity}",
        "ownerId": make.account,
    }


def _exclusion(make: Make) -> tuple[str, dict[str, Any]]:
    parameters = make.parameters("ec2.create_vpc_block_public_access_exclusion", tag_kind="vpc-block-public-access-exclusion")
    make.check("ec2.create_vpc_block_public_access_exclusion", parameters)
    target = make.peek("subnetId") or make.peek("vpcId")
    identity = f"vpcbpa-exclude-{hashlib.sha256(str(target).encode()).hexdigest()[:17]}"
    kind = "subnet" if make.peek("subnetId") else "vpc"
    return identity, {"resourceArn": f"arn:aws:ec2:{make.region}:{make.account}:{kind}/{target}"}


def _block_public(make: Make) -> tuple[str, dict[str, Any]]:
    operation = "ec2.modify_vpc_block_public_access_options"
    make.check(operation, make.parameters(operation))
    return make.region, {"awsAccountId": make.account, "awsRegion": make.region}


_NO_BLOCKING = "moto has no VPC block public access"


def _revoke_all(make: Make, group: str, ingress: bool) -> None:
    direction = "ingress" if ingress else "egress"
    rules = make.call("ec2.describe_security_group_rules", Filters=[{"Name": "group-id", "Values": [group]}])[
        "SecurityGroupRules"
    ]
    ids = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] is not ingress]
    if ids:
        make.call(f"ec2.revoke_security_group_{direction}", GroupId=group, SecurityGroupRuleIds=ids)


_RULE = {
    "protocol": "IpProtocol",
    "cidrBlocks": "",
    "securityGroups": "",
    "self": "",
    "description": "",
    "ipv6CidrBlocks": "",
    "prefixListIds": "",
}


def _inline_rules(make: Make, group: str) -> None:
    for name in ("ingress", "egress"):
        for rule in make.take(name) or []:
            permission = make.part(f"ec2.authorize_security_group_{name}", "IpPermissions", [rule], _RULE)[0]
            note = {"Description": rule["description"]} if rule.get("description") else {}
            permission["IpRanges"] = [{"CidrIp": cidr, **note} for cidr in rule.get("cidrBlocks", [])]
            permission["Ipv6Ranges"] = [{"CidrIpv6": cidr, **note} for cidr in rule.get("ipv6CidrBlocks", [])]
            permission["PrefixListIds"] = [{"PrefixListId": item, **note} for item in rule.get("prefixListIds", [])]
            others = [*rule.get("securityGroups", []), *([group] if rule.get("self") else [])]
            permission["UserIdGroupPairs"] = [{"GroupId": other, **note} for other in others]
            make.call(f"ec2.authorize_security_group_{name}", GroupId=group, IpPermissions=[permission])


def _security_group(make: Make, group: dict[str, Any]) -> dict[str, Any]:
    """The provider takes away the rule that AWS gives every new group: everything out."""
    _revoke_all(make, group["GroupId"], ingress=False)
    _inline_rules(make, group["GroupId"])
    return {
        "arn": f"arn:aws:ec2:{make.region}:{make.account}:security-group/{group['GroupId']}",
        "ownerId": make.account,
    }


def _default_security_group(make: Make) -> tuple[str, dict[str, Any]]:
    """Adopts the VPC's own group and empties it, as the provider does."""
    only = [{"Name": "vpc-id", "Values": [make.take("vpcId")]}, {"Name": "group-name", "Values": ["default"]}]
    found = make.call("ec2.describe_security_groups", Filters=only)["SecurityGroups"]
    if not found:
        raise make.error("the VPC has no default security group.")
    group = found[0]["GroupId"]
    _revoke_all(make, group, ingress=True)
    _revoke_all(make, group, ingress=False)
    _inline_rules(make, group)
    if make.tags:
        make.call("ec2.create_tags", Resources=[group], Tags=make.tag_list())
    arn = f"arn:aws:ec2:{make.region}:{make.account}:security-group/{group}"
    return group, {"arn": arn, "name": "default", "ownerId": make.account, "description": found[0]["Description"]}


def _rule(direction: str) -> Row:
    def make_rule(make: Make) -> tuple[str, dict[str, Any]]:
        note = {"Description": make.peek("description")} if make.take("description") else {}
        permission: dict[str, Any] = {"IpProtocol": str(make.take("ipProtocol"))}
        for name, member in (("fromPort", "FromPort"), ("toPort", "ToPort")):
            if make.take(name) is not None:
                permission[member] = int(make.peek(name))
        if make.take("cidrIpv4"):
            permission["IpRanges"] = [{"CidrIp": make.peek("cidrIpv4"), **note}]
        if make.take("cidrIpv6"):
            permission["Ipv6Ranges"] = [{"CidrIpv6": make.peek("cidrIpv6"), **note}]
        if make.take("prefixListId"):
            permission["PrefixListIds"] = [{"PrefixListId": make.peek("prefixListId"), **note}]
        if make.take("referencedSecurityGroupId"):
            permission["UserIdGroupPairs"] = [{"GroupId": make.peek("referencedSecurityGroupId"), **note}]
        call = f"ec2.authorize_security_group_{direction}"
        tags: dict[str, Any] = (
            {"TagSpecifications": [{"ResourceType": "security-group-rule", "Tags": make.tag_list()}]} if make.tags else {}
        )
        group = make.take("securityGroupId")
        answer = make.call(call, GroupId=group, IpPermissions=[permission], **tags)
        identity = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        if note:
            moto_state.rule_description(make, group, identity, make.peek("description"))
        arn = f"arn:aws:ec2:{make.region}:{make.account}:security-group-rule/{identity}"
        return identity, {"arn": arn, "securityGroupRuleId": identity}

    return Row(make=make_rule)


ROWS: dict[str, Row] = {
    "aws:ec2/vpc:Vpc": Row(
        call="ec2.create_vpc",
        reply="Vpc",
        id="{VpcId}",
        tag_kind="vpc",
        then=_vpc_details,
        by_hand=("enableDnsSupport", "enableDnsHostnames"),
        outputs={"arn": _ARN + "vpc/{VpcId}", "ownerId": "{account}"},
    ),
    "aws:ec2/subnet:Subnet": Row(
        call="ec2.create_subnet",
        reply="Subnet",
        id="{SubnetId}",
        tag_kind="subnet",
        then=_subnet_public_addresses,
        by_hand=("mapPublicIpOnLaunch",),
        outputs={"arn": _ARN + "subnet/{SubnetId}", "ownerId": "{account}"},
    ),
    "aws:ec2/internetGateway:InternetGateway": Row(
        call="ec2.create_internet_gateway",
        reply="InternetGateway",
        id="{InternetGatewayId}",
        tag_kind="internet-gateway",
        then=_attach_gateway,
        by_hand=("vpcId",),
        outputs={"arn": _ARN + "internet-gateway/{InternetGatewayId}"},
    ),
    "aws:ec2/eip:Eip": Row(
        call="ec2.allocate_address",
        id="{AllocationId}",
        tag_kind="elastic-ip",
        outputs={"arn": _ARN + "elastic-ip/{AllocationId}", "allocationId": "{AllocationId}", "publicIp": "{PublicIp}"},
    ),
    "aws:ec2/natGateway:NatGateway": Row(
        call="ec2.create_nat_gateway",
        reply="NatGateway",
        id="{NatGatewayId}",
        tag_kind="natgateway",
    ),
    "aws:ec2/routeTable:RouteTable": Row(
        call="ec2.create_route_table",
        reply="RouteTable",
        id="{RouteTableId}",
        tag_kind="route-table",
        outputs={"arn": _ARN + "route-table/{RouteTableId}", "ownerId": "{account}"},
    ),
    "aws:ec2/route:Route": Row(make=_route),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Row(call="ec2.associate_route_table", id="{AssociationId}"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Row(
        call="ec2.create_vpc_endpoint",
        reply="VpcEndpoint",
        id="{VpcEndpointId}",
        tag_kind="vpc-endpoint",
        then=_prefix_list,
        names={"policy": "PolicyDocument"},
        outputs={"arn": _ARN + "vpc-endpoint/{VpcEndpointId}", "state": "available"},
        ignored={"autoAccept": HOW_PULUMI_WORKS},
    ),
    "aws:ec2/flowLog:FlowLog": Row(make=_flow_log),
    "aws:ec2/networkAcl:NetworkAcl": Row(make=_acl),
    "aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion": Row(make=_exclusion, modelled=_NO_BLOCKING),
    "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions": Row(make=_block_public, modelled=_NO_BLOCKING),
    "aws:ec2/securityGroup:SecurityGroup": Row(
        call="ec2.create_security_group",
        id="{GroupId}",
        names={"name": "GroupName"},
        tag_kind="security-group",
        then=_security_group,
        by_hand=("ingress", "egress"),
        ignored={"revokeRulesOnDelete": HOW_PULUMI_WORKS},
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": Row(
        make=_default_security_group, ignored={"revokeRulesOnDelete": HOW_PULUMI_WORKS}
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule("egress"),
}
