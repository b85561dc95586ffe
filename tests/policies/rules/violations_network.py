"""Programs that violate one control: VPC, Elastic Load Balancing, ACM and AWS WAF."""

from __future__ import annotations

from typing import Any

from policies.testing.pack_process import Declared, Ref
from tests.policies.rules import network_programs, programs
from tests.policies.rules.builders import Program, by_change, changed, declared, find, violation, without
from tests.policies.rules.network_programs import WORLD

SSH_FROM_INTERNET = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 22, "toPort": 22}
ALL_TRAFFIC = {"protocol": "-1", "fromPort": 0, "toPort": 0}


def web_acl(**inputs: Any) -> Program:
    return changed(network_programs.edge(), "web-acl", **inputs)


def web_acl_rule(**rule: Any) -> Program:
    rules = find(network_programs.edge(), "web-acl").inputs["rules"]
    return changed(network_programs.edge(), "web-acl", rules=[{**rules[0], **rule}, *rules[1:]])


def security_group(name: str, **inputs: Any) -> Declared:
    return declared("ec2.SecurityGroup", name, vpcId=Ref("vpc"), description=name, **inputs)


def network_acl(*ingress: dict[str, Any]) -> Program:
    return changed(
        network_programs.network(), "acl", ingress=[{"protocol": "tcp", "cidrBlock": WORLD, **item} for item in ingress]
    )


VIOLATIONS = [
    violation("GH-VPC-001", "vpc", "VPC", without(network_programs.network(), "flow")),
    by_change("GH-VPC-001", network_programs.network, "flow", "trafficType", reported="vpc", trafficType="REJECT"),
    violation("GH-VPC-002", "vpc", "DefaultSecurityGroup", without(network_programs.network(), "default-group")),
    by_change(
        "GH-VPC-002",
        network_programs.network,
        "default-group",
        "default-group",
        reported="vpc",
        ingress=[{"protocol": "-1", "self": True, "fromPort": 0, "toPort": 0}],
    ),
    by_change("GH-VPC-003", network_programs.network, "app-a", "mapPublicIpOnLaunch", mapPublicIpOnLaunch=True),
    violation(
        "GH-VPC-004",
        "from-balancer",
        "80",
        changed(network_programs.edge(), "from-balancer", referencedSecurityGroupId=None, **SSH_FROM_INTERNET),
    ),
    violation(
        "GH-VPC-004",
        "from-balancer",
        "internet",
        changed(
            network_programs.edge(),
            "from-balancer",
            referencedSecurityGroupId=None,
            **{**SSH_FROM_INTERNET, "fromPort": 443, "toPort": 443},
        ),
    ),
    *(
        violation(
            "GH-VPC-004",
            "from-balancer",
            "ports",
            changed(network_programs.edge(), "from-balancer", referencedSecurityGroupId=None, **{**SSH_FROM_INTERNET, **cidr}),
        )
        for cidr in ({"cidrIpv4": "128.0.0.0/1"}, {"cidrIpv4": None, "cidrIpv6": "2000::/3"})
    ),
    violation(
        "GH-VPC-004",
        "open-group",
        "ingress[0]",
        [
            *network_programs.edge(),
            security_group("open-group", ingress=[{**ALL_TRAFFIC, "description": "all", "ipv6CidrBlocks": ["::/0"]}]),
        ],
    ),
    by_change("GH-VPC-005", network_programs.edge, "to-cores", "internet", ipProtocol="-1", fromPort=None, toPort=None),
    by_change("GH-VPC-006", network_programs.edge, "to-cores", "description", description=None),
    by_change(
        "GH-VPC-006",
        network_programs.edge,
        "gateway-group",
        "separate",
        egress=[{"description": "Cores", "protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.0.0.0/8"]}],
    ),
    violation(
        "GH-VPC-007",
        "acl",
        "3389",
        network_acl(
            {"ruleNo": 10, "action": "deny", "fromPort": 22, "toPort": 22},
            {"ruleNo": 20, "action": "allow", "fromPort": 1024, "toPort": 65535},
            {"ruleNo": 30, "action": "deny", "fromPort": 3389, "toPort": 3389},
        ),
    ),
    violation("GH-VPC-008", "vpc", "ecr.dkr", without(programs.ecs(), "ecr.dkr-endpoint")),
    by_change("GH-VPC-009", network_programs.network, "s3-endpoint", "endpoint", policy=None),
    by_change("GH-VPC-010", programs.ecs, "service", "subnet", networkConfiguration={"subnets": [Ref("edge-a"), Ref("app-b")]}),
    by_change("GH-VPC-010", programs.stores, "cache-subnets", "NAT", subnetIds=[Ref("app-a"), Ref("data-b")]),
    violation("GH-VPC-010", "default", "VPC", [declared("ec2.DefaultVpc", "default")]),
    violation("GH-VPC-011", "vpc", "VPC", without(network_programs.network(), "block")),
    violation("GH-VPC-011", "vpc", "exclusion", without(network_programs.edge(), "block-exclusion")),
    by_change("GH-ALB-001", network_programs.edge, "http", "defaultActions[0]", defaultActions=[{"type": "forward"}]),
    by_change("GH-ALB-002", network_programs.edge, "https", "sslPolicy", sslPolicy="ELBSecurityPolicy-2016-08"),
    by_change("GH-ALB-002", network_programs.edge, "https", "sslPolicy", sslPolicy=None),
    by_change("GH-ALB-003", network_programs.edge, "balancer", "dropInvalidHeaderFields", dropInvalidHeaderFields=None),
    by_change("GH-ALB-004", network_programs.edge, "balancer", "accessLogs.enabled", accessLogs=None),
    by_change("GH-ALB-005", network_programs.edge, "balancer", "enableDeletionProtection", enableDeletionProtection=False),
    by_change("GH-ALB-006", network_programs.edge, "balancer", "desyncMitigationMode", desyncMitigationMode="monitor"),
    by_change("GH-ALB-007", network_programs.edge, "balancer", "2", subnets=[Ref("edge-a")]),
    violation("GH-ALB-008", "balancer", "ACL", without(network_programs.edge(), "firewall-on-balancer")),
    by_change("GH-ALB-009", network_programs.edge, "targets", "TLS", protocol="HTTP"),
    by_change("GH-ALB-009", network_programs.edge, "targets", "healthCheck", healthCheck=None),
    by_change(
        "GH-ALB-010",
        network_programs.edge,
        "https",
        "routingHttpResponseStrictTransportSecurityHeaderValue",
        routingHttpResponseStrictTransportSecurityHeaderValue="max-age=300",
    ),
    by_change(
        "GH-ALB-010", network_programs.edge, "https", "routingHttpResponseServerEnabled", routingHttpResponseServerEnabled=None
    ),
    by_change("GH-ACM-001", network_programs.edge, "certificate", "certificate", subjectAlternativeNames=["*.example.com"]),
    by_change("GH-ACM-001", network_programs.edge, "certificate", "validationMethod", validationMethod="EMAIL"),
    violation(
        "GH-WAF-001", "web-acl", "rateBasedStatement", web_acl(rules=find(network_programs.edge(), "web-acl").inputs["rules"][:3])
    ),
    violation("GH-WAF-002", "web-acl", "ACL", without(network_programs.edge(), "firewall-logging")),
    by_change(
        "GH-WAF-002",
        network_programs.edge,
        "firewall-logging",
        "firewall-logging",
        reported="web-acl",
        redactedFields=[{"singleHeader": {"name": name}} for name in ("authorization", "cookie")],
    ),
    violation(
        "GH-WAF-003",
        "web-acl",
        "visibilityConfig.cloudwatchMetricsEnabled",
        web_acl(visibilityConfig={"cloudwatchMetricsEnabled": False}),
    ),
    violation("GH-WAF-004", "web-acl", "rules[0].overrideAction", web_acl_rule(overrideAction={"count": {}})),
]
