"""Security groups, their rules, and network ACLs."""

from typing import Any

from sandbox.rows import kept
from sandbox.rows.make import Make
from sandbox.rows.row import HOW_PULUMI_WORKS, Row


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
            kept.rule_description(make, group, identity, make.peek("description"))
        arn = f"arn:aws:ec2:{make.region}:{make.account}:security-group-rule/{identity}"
        return identity, {"arn": arn, "securityGroupRuleId": identity}

    return Row(make=make_rule)


def _network_acl(make: Make, acl: dict[str, Any]) -> dict[str, Any]:
    for name, egress in (("ingress", False), ("egress", True)):
        for entry in make.take(name) or []:
            names = {
                "ruleNo": "RuleNumber",
                "action": "RuleAction",
                "fromPort": "",
                "toPort": "",
                "icmpType": "",
                "icmpCode": "",
            }
            flat = make.to_api(entry, make.input_shape("ec2.create_network_acl_entry"), name, names)
            ports = {"PortRange": {"From": int(entry["fromPort"]), "To": int(entry["toPort"])}}
            make.call("ec2.create_network_acl_entry", {**flat, **ports}, NetworkAclId=acl["NetworkAclId"], Egress=egress)
    for subnet in make.take("subnetIds") or []:
        only = [{"Name": "association.subnet-id", "Values": [subnet]}]
        for current in make.call("ec2.describe_network_acls", Filters=only)["NetworkAcls"]:
            for association in current["Associations"]:
                if association["SubnetId"] == subnet:
                    make.call(
                        "ec2.replace_network_acl_association",
                        AssociationId=association["NetworkAclAssociationId"],
                        NetworkAclId=acl["NetworkAclId"],
                    )
    return {"arn": f"arn:aws:ec2:{make.region}:{make.account}:network-acl/{acl['NetworkAclId']}"}


ROWS: dict[str, Row] = {
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
    "aws:ec2/networkAcl:NetworkAcl": Row(
        call="ec2.create_network_acl",
        reply="NetworkAcl",
        id="{NetworkAclId}",
        tag_kind="network-acl",
        then=_network_acl,
        by_hand=("ingress", "egress", "subnetIds"),
        outputs={"ownerId": "{account}"},
    ),
}
