"""Programs that violate one control: VPC, Elastic Load Balancing, ACM and AWS WAF."""

from typing import Any

from tests.policies.pack_process import Declared, Ref
from tests.policies.rules.builders import (
    Program,
    by_change,
    changed,
    declared,
    find,
    violation,
    without,
)
from tests.policies.rules.network_programs import WORLD, edge, network
from tests.policies.rules.programs import ecs, stores

SSH_FROM_INTERNET = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 22, "toPort": 22}
METRICS = {"cloudwatchMetricsEnabled": True}
ALL_TRAFFIC = {"protocol": "-1", "fromPort": 0, "toPort": 0}


def web_acl(**inputs: Any) -> Program:
    return changed(edge(), "web-acl", **inputs)


def web_acl_rule(**rule: Any) -> Program:
    rules = find(edge(), "web-acl").inputs["rules"]
    return changed(edge(), "web-acl", rules=[{**rules[0], **rule}, *rules[1:]])


METRICS = {"cloudwatchMetricsEnabled": True}


def rule_group(metrics_of_rule: dict[str, Any], **inputs: Any) -> Program:
    """A rule group with one rule and its visibility configuration. inputs: changed inputs of the
    group.
    """
    rule = {"name": "one-country", "action": {"block": {}}, "visibilityConfig": metrics_of_rule}
    group = declared(
        "wafv2.RuleGroup",
        "blocked",
        scope="REGIONAL",
        capacity=1,
        visibilityConfig=METRICS,
        rules=[rule],
    )
    return [group.with_inputs(**inputs)]


def limited_rate(**statement: Any) -> Program:
    *others, limit = find(edge(), "web-acl").inputs["rules"]
    rate = {**limit["statement"]["rateBasedStatement"], **statement}
    return changed(
        edge(), "web-acl", rules=[*others, {**limit, "statement": {"rateBasedStatement": rate}}]
    )


def sampled_with_protection(*headers: str) -> Program:
    """A web ACL that stores samples, in which these headers are replaced. No header: all
    headers.
    """
    field = {"fieldType": "SINGLE_HEADER", **({"fieldKeys": list(headers)} if headers else {})}
    return changed(
        edge(),
        "web-acl",
        visibilityConfig={**METRICS, "sampledRequestsEnabled": True},
        dataProtectionConfig={"dataProtections": [{"action": "SUBSTITUTION", "field": field}]},
    )


def api_route(**condition: Any) -> Declared:
    return declared(
        "lb.ListenerRule",
        "api-rule",
        listenerArn=Ref("https", "arn"),
        conditions=[condition],
        actions=[],
    )


def graphql_api() -> list[Declared]:
    association = {"resourceArn": Ref("graph", "arn"), "webAclArn": Ref("web-acl", "arn")}
    return [
        declared("appsync.GraphQLApi", "graph", authenticationType="AWS_IAM"),
        declared("wafv2.WebAclAssociation", "firewall-on-graph", **association),
    ]


def security_group(name: str, **inputs: Any) -> Declared:
    return declared("ec2.SecurityGroup", name, vpcId=Ref("vpc"), description=name, **inputs)


def network_acl(*ingress: dict[str, Any]) -> Program:
    return changed(
        network(),
        "acl",
        ingress=[{"protocol": "tcp", "cidrBlock": WORLD, **item} for item in ingress],
    )


VIOLATIONS = [
    violation("GH-VPC-001", "vpc", "VPC", without(network(), "flow")),
    by_change("GH-VPC-001", network, "flow", "trafficType", reported="vpc", trafficType="REJECT"),
    violation("GH-VPC-002", "vpc", "DefaultSecurityGroup", without(network(), "default-group")),
    by_change(
        "GH-VPC-002",
        network,
        "default-group",
        "default-group",
        reported="vpc",
        ingress=[{"protocol": "-1", "self": True, "fromPort": 0, "toPort": 0}],
    ),
    by_change("GH-VPC-003", network, "app-a", "mapPublicIpOnLaunch", mapPublicIpOnLaunch=True),
    violation(
        "GH-VPC-004",
        "from-balancer",
        "80",
        changed(edge(), "from-balancer", referencedSecurityGroupId=None, **SSH_FROM_INTERNET),
    ),
    violation(
        "GH-VPC-004",
        "from-balancer",
        "internet",
        changed(
            edge(),
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
            changed(
                edge(),
                "from-balancer",
                referencedSecurityGroupId=None,
                **{**SSH_FROM_INTERNET, **cidr},
            ),
        )
        for cidr in ({"cidrIpv4": "128.0.0.0/1"}, {"cidrIpv4": None, "cidrIpv6": "2000::/3"})
    ),
    violation(
        "GH-VPC-004",
        "open-group",
        "ingress[0]",
        [
            *edge(),
            security_group(
                "open-group",
                ingress=[{**ALL_TRAFFIC, "description": "all", "ipv6CidrBlocks": ["::/0"]}],
            ),
        ],
    ),
    by_change(
        "GH-VPC-005", edge, "to-cores", "internet", ipProtocol="-1", fromPort=None, toPort=None
    ),
    by_change("GH-VPC-006", edge, "to-cores", "description", description=None),
    by_change(
        "GH-VPC-006",
        edge,
        "gateway-group",
        "separate",
        egress=[
            {
                "description": "Cores",
                "protocol": "tcp",
                "fromPort": 443,
                "toPort": 443,
                "cidrBlocks": ["10.0.0.0/8"],
            }
        ],
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
    violation("GH-VPC-008", "vpc", "ecr.dkr", without(ecs(), "ecr.dkr-endpoint")),
    by_change("GH-VPC-009", network, "s3-endpoint", "endpoint", policy=None),
    by_change(
        "GH-VPC-010",
        ecs,
        "service",
        "subnet",
        networkConfiguration={"subnets": [Ref("edge-a"), Ref("app-b")]},
    ),
    by_change(
        "GH-VPC-010", stores, "cache-subnets", "NAT", subnetIds=[Ref("app-a"), Ref("data-b")]
    ),
    violation("GH-VPC-010", "default", "VPC", [declared("ec2.DefaultVpc", "default")]),
    violation("GH-VPC-011", "vpc", "VPC", without(network(), "block")),
    violation("GH-VPC-011", "vpc", "exclusion", without(edge(), "block-exclusion")),
    by_change(
        "GH-ALB-001", edge, "http", "defaultActions[0]", defaultActions=[{"type": "forward"}]
    ),
    by_change("GH-ALB-002", edge, "https", "sslPolicy", sslPolicy="ELBSecurityPolicy-2016-08"),
    by_change("GH-ALB-002", edge, "https", "sslPolicy", sslPolicy=None),
    by_change(
        "GH-ALB-003", edge, "balancer", "dropInvalidHeaderFields", dropInvalidHeaderFields=None
    ),
    by_change("GH-ALB-004", edge, "balancer", "accessLogs.enabled", accessLogs=None),
    by_change(
        "GH-ALB-005", edge, "balancer", "enableDeletionProtection", enableDeletionProtection=False
    ),
    by_change(
        "GH-ALB-006", edge, "balancer", "desyncMitigationMode", desyncMitigationMode="monitor"
    ),
    by_change("GH-ALB-007", edge, "balancer", "2", subnets=[Ref("edge-a")]),
    violation("GH-ALB-008", "balancer", "ACL", without(edge(), "firewall-on-balancer")),
    by_change("GH-ALB-009", edge, "targets", "TLS", protocol="HTTP"),
    by_change("GH-ALB-009", edge, "targets", "healthCheck", healthCheck=None),
    by_change(
        "GH-ALB-010",
        edge,
        "https",
        "routingHttpResponseStrictTransportSecurityHeaderValue",
        routingHttpResponseStrictTransportSecurityHeaderValue="max-age=300",
    ),
    by_change(
        "GH-ALB-010",
        edge,
        "https",
        "routingHttpResponseServerEnabled",
        routingHttpResponseServerEnabled=None,
    ),
    by_change(
        "GH-ACM-001", edge, "certificate", "certificate", subjectAlternativeNames=["*.example.com"]
    ),
    by_change("GH-ACM-001", edge, "certificate", "validationMethod", validationMethod="EMAIL"),
    violation(
        "GH-WAF-001",
        "web-acl",
        "rateBasedStatement",
        web_acl(rules=find(edge(), "web-acl").inputs["rules"][:3]),
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "CommonRuleSet",
        web_acl(rules=find(edge(), "web-acl").inputs["rules"][1:]),
    ),
    violation(
        "GH-WAF-005",
        "web-acl",
        "api-rule",
        [*edge(), api_route(hostHeader={"values": ["api.example.com"]})],
    ),
    violation(
        "GH-WAF-005",
        "web-acl",
        "GenericRFI_BODY",
        [*edge(), api_route(pathPattern={"values": ["/v1/*"]})],
    ),
    violation("GH-WAF-005", "web-acl", "graph", [*edge(), *graphql_api()]),
    violation("GH-WAF-002", "web-acl", "ACL", without(edge(), "firewall-logging")),
    by_change(
        "GH-WAF-002",
        edge,
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
    violation(
        "GH-WAF-003",
        "blocked",
        "visibilityConfig.cloudwatchMetricsEnabled",
        rule_group(METRICS, visibilityConfig=None),
    ),
    violation(
        "GH-WAF-003",
        "blocked",
        "rules[0].visibilityConfig",
        rule_group({"cloudwatchMetricsEnabled": False}),
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "scopeDownStatement",
        web_acl_rule(
            statement={
                "managedRuleGroupStatement": {
                    "name": "AWSManagedRulesCommonRuleSet",
                    "scopeDownStatement": {"byteMatchStatement": {"searchString": "/none"}},
                }
            }
        ),
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "every rateBasedStatement",
        limited_rate(scopeDownStatement={"geoMatchStatement": {}}),
    ),
    violation(
        "GH-WAF-006",
        "web-acl",
        "visibilityConfig",
        web_acl(visibilityConfig={**METRICS, "sampledRequestsEnabled": True}),
    ),
    violation(
        "GH-WAF-006",
        "web-acl",
        "rules[0]",
        web_acl_rule(visibilityConfig={**METRICS, "sampledRequestsEnabled": True}),
    ),
    violation(
        "GH-WAF-006",
        "web-acl",
        "visibilityConfig",
        sampled_with_protection("authorization", "cookie"),
    ),
    by_change("GH-ALB-013", edge, "balancer", "preserve", xffHeaderProcessingMode="preserve"),
    violation(
        "GH-WAF-004",
        "web-acl",
        "rules[0].overrideAction",
        web_acl_rule(overrideAction={"count": {}}),
    ),
]
COMPLIANT: dict[str, Program] = {
    "samples without headers": sampled_with_protection(),
    "samples without credentials": sampled_with_protection("authorization", "cookie", "x-api-key"),
    "internal load balancer behind CloudFront": changed(
        edge(), "balancer", internal=True, xffHeaderProcessingMode="preserve"
    ),
    "rule group with metrics": rule_group(METRICS),
    "rule group that excludes requests": web_acl_rule(
        statement={
            "managedRuleGroupStatement": {
                "name": "AWSManagedRulesCommonRuleSet",
                "scopeDownStatement": {
                    "notStatement": {
                        "statement": {"byteMatchStatement": {"searchString": "/files"}}
                    }
                },
            }
        }
    ),
}
