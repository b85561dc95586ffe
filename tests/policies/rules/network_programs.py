"""Compliant programs with a network and its load balancer."""

from typing import Any

from tests.policies.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import (
    TAGS,
    declared,
    document,
    kms,
    log_group,
    monitoring,
    security_rule,
)

WORLD = "0.0.0.0/0"
ENDPOINT_POLICY = document(
    {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
    }
)
ORIGINS: list[dict[str, Any]] = [
    {
        "originId": "files",
        "domainName": "acme-files.s3.eu-west-1.amazonaws.com",
        "originAccessControlId": Ref("access"),
    },
    {
        "originId": "private",
        "domainName": "private.example.com",
        "vpcOriginConfig": {"vpcOriginId": Ref("private-origin")},
    },
    {
        "originId": "public",
        "domainName": "public.example.com",
        "customOriginConfig": {
            "httpPort": 80,
            "httpsPort": 443,
            "originProtocolPolicy": "https-only",
            "originSslProtocols": ["TLSv1.2"],
        },
    },
]
"""Origins of the distribution in `cloudfront`."""


def network() -> list[Declared]:
    vpc = {"vpcId": Ref("vpc")}
    tiers = {"edge": "edge-table", "app": "app-table", "data": "data-table"}
    return [
        *kms(),
        declared("ec2.Vpc", "vpc", cidrBlock="10.0.0.0/16", tags=TAGS),
        declared(
            "ec2.DefaultSecurityGroup", "default-group", **dict(vpc), computed={"ingress": []}
        ),
        log_group("flow-logs", "/acme/flow"),
        declared(
            "ec2.FlowLog", "flow", **vpc, trafficType="ALL", logDestination=Ref("flow-logs", "arn")
        ),
        declared("ec2.InternetGateway", "internet", **dict(vpc)),
        *(declared("ec2.RouteTable", table, **dict(vpc)) for table in tiers.values()),
        declared(
            "ec2.Route",
            "edge-out",
            routeTableId=Ref("edge-table"),
            destinationCidrBlock="0.0.0.0/0",
            gatewayId=Ref("internet"),
        ),
        declared(
            "ec2.Route",
            "app-out",
            routeTableId=Ref("app-table"),
            destinationCidrBlock="0.0.0.0/0",
            natGatewayId="nat-1",
        ),
        *(
            item
            for tier, table in tiers.items()
            for zone in "ab"
            for item in (
                declared(
                    "ec2.Subnet", f"{tier}-{zone}", **vpc, availabilityZone=f"eu-west-1{zone}"
                ),
                declared(
                    "ec2.RouteTableAssociation",
                    f"{tier}-{zone}-table",
                    subnetId=Ref(f"{tier}-{zone}"),
                    routeTableId=Ref(table),
                ),
            )
        ),
        *(
            declared(
                "ec2.VpcEndpoint",
                f"{service}-endpoint",
                **vpc,
                serviceName=f"com.amazonaws.eu-west-1.{service}",
                policy=ENDPOINT_POLICY,
            )
            for service in (
                "s3",
                "dynamodb",
                "ecr.api",
                "ecr.dkr",
                "logs",
                "secretsmanager",
                "kms",
                "sts",
            )
        ),
        declared(
            "ec2.NetworkAcl",
            "acl",
            **vpc,
            ingress=[
                {
                    "ruleNo": 10,
                    "action": "deny",
                    "protocol": "tcp",
                    "fromPort": port,
                    "toPort": port,
                    "cidrBlock": WORLD,
                }
                for port in (22, 3389)
            ]
            + [
                {
                    "ruleNo": 20,
                    "action": "allow",
                    "protocol": "-1",
                    "fromPort": 0,
                    "toPort": 0,
                    "cidrBlock": WORLD,
                }
            ],
        ),
        declared(
            "ec2.VpcBlockPublicAccessOptions", "block", internetGatewayBlockMode="block-ingress"
        ),
        declared(
            "ec2.VpcBlockPublicAccessExclusion",
            "block-exclusion",
            **vpc,
            internetGatewayExclusionMode="allow-bidirectional",
        ),
    ]


def edge() -> list[Declared]:
    vpc = {"vpcId": Ref("vpc")}
    balancer = {"loadBalancerArn": Ref("balancer", "arn")}
    rules = [
        *(
            {
                "name": group,
                "statement": {"managedRuleGroupStatement": {"name": group}},
                "visibilityConfig": {"cloudwatchMetricsEnabled": True},
            }
            for group in (
                "AWSManagedRulesCommonRuleSet",
                "AWSManagedRulesKnownBadInputsRuleSet",
                "AWSManagedRulesAmazonIpReputationList",
            )
        ),
        {
            "name": "rate",
            "statement": {"rateBasedStatement": {"limit": 1000}},
            "visibilityConfig": {"cloudwatchMetricsEnabled": True},
        },
    ]
    return [
        *network(),
        declared(
            "ec2.SecurityGroup", "balancer-group", vpcId=Ref("vpc"), description="load balancer"
        ),
        declared("ec2.SecurityGroup", "gateway-group", vpcId=Ref("vpc"), description="gateway"),
        *(
            security_rule(
                "Ingress",
                f"from-internet-{port}",
                "balancer-group",
                port,
                "clients",
                cidrIpv4=WORLD,
            )
            for port in (80, 443)
        ),
        security_rule(
            *("Ingress", "from-balancer", "gateway-group", 8080, "requests"),
            referencedSecurityGroupId=Ref("balancer-group"),
        ),
        declared(
            "lb.LoadBalancer",
            "balancer",
            securityGroups=[Ref("balancer-group")],
            subnets=[Ref("edge-a"), Ref("edge-b")],
            dropInvalidHeaderFields=True,
            desyncMitigationMode="strictest",
            enableDeletionProtection=True,
            accessLogs={"enabled": True, "bucket": "acme-sink"},
            tags=TAGS,
        ),
        declared(
            "lb.Listener",
            "http",
            **balancer,
            port=80,
            protocol="HTTP",
            defaultActions=[
                {
                    "type": "redirect",
                    "redirect": {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"},
                }
            ],
        ),
        declared(
            "lb.Listener",
            "https",
            **balancer,
            port=443,
            protocol="HTTPS",
            sslPolicy="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
            routingHttpResponseStrictTransportSecurityHeaderValue=(
                "max-age=31536000; includeSubDomains"
            ),
            routingHttpResponseXContentTypeOptionsHeaderValue="nosniff",
            routingHttpResponseXFrameOptionsHeaderValue="DENY",
            routingHttpResponseServerEnabled=False,
            defaultActions=[
                {
                    "type": "forward",
                    "targetGroupArn": "arn:aws:elasticloadbalancing:::targetgroup/gateway",
                }
            ],
        ),
        security_rule("Egress", "to-cores", "gateway-group", 443, "Cores", cidrIpv4=WORLD),
        declared(
            "lb.TargetGroup",
            "targets",
            **vpc,
            protocol="HTTPS",
            targetType="ip",
            healthCheck={"path": "/readyz", "protocol": "HTTPS"},
        ),
        declared(
            "acm.Certificate",
            "certificate",
            domainName="gateway.example.com",
            validationMethod="DNS",
            keyAlgorithm="EC_prime256v1",
        ),
        *monitoring(balancer=("AWS/ApplicationELB", "LoadBalancer")),
        declared(
            "wafv2.WebAcl",
            "web-acl",
            rules=rules,
            visibilityConfig={"cloudwatchMetricsEnabled": True},
        ),
        declared(
            "wafv2.WebAclAssociation",
            "firewall-on-balancer",
            resourceArn=Ref("balancer", "arn"),
            webAclArn=Ref("web-acl", "arn"),
        ),
        declared(
            "wafv2.WebAclLoggingConfiguration",
            "firewall-logging",
            resourceArn=Ref("web-acl", "arn"),
            redactedFields=[
                {"singleHeader": {"name": name}}
                for name in ("authorization", "cookie", "x-api-key")
            ],
        ),
    ]


def cloudfront() -> list[Declared]:
    return [*edge(), *distribution(Ref("web-acl", "arn"))]


def distribution(web_acl: Ref | str) -> list[Declared]:
    """A distribution with files in a bucket and an API behind a VPC origin and a public origin."""
    behavior = {
        "viewerProtocolPolicy": "redirect-to-https",
        "responseHeadersPolicyId": Ref("headers"),
    }
    cdn = {"region": "us-east-1"}
    return [
        declared(
            "acm.Certificate",
            "cdn-certificate",
            **cdn,
            domainName="www.example.com",
            validationMethod="DNS",
        ),
        declared(
            "cloudfront.ResponseHeadersPolicy",
            "headers",
            name="headers",
            securityHeadersConfig={
                "strictTransportSecurity": {
                    "accessControlMaxAgeSec": 31_536_000,
                    "includeSubdomains": True,
                    "override": True,
                },
                "contentSecurityPolicy": {
                    "contentSecurityPolicy": "default-src 'self'",
                    "override": True,
                },
                "contentTypeOptions": {"override": True},
                "frameOptions": {"frameOption": "DENY", "override": True},
            },
        ),
        declared(
            "cloudfront.OriginAccessControl",
            "access",
            name="access",
            originAccessControlOriginType="s3",
            signingBehavior="always",
            signingProtocol="sigv4",
        ),
        declared(
            "cloudfront.VpcOrigin",
            "private-origin",
            vpcOriginEndpointConfig={
                "name": "api",
                "arn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/api/1",
                "httpPort": 80,
                "httpsPort": 443,
                "originProtocolPolicy": "https-only",
                "originSslProtocols": {"items": ["TLSv1.2"], "quantity": 1},
            },
        ),
        declared(
            "cloudfront.Distribution",
            "cdn",
            enabled=True,
            aliases=["www.example.com"],
            defaultRootObject="index.html",
            webAclId=web_acl,
            origins=ORIGINS,
            defaultCacheBehavior={"targetOriginId": "files", **behavior},
            orderedCacheBehaviors=[
                {"targetOriginId": "private", "pathPattern": "/v1/*", **behavior},
                {"targetOriginId": "public", "pathPattern": "/v2/*", **behavior},
            ],
            restrictions={"geoRestriction": {"restrictionType": "none"}},
            viewerCertificate={
                "acmCertificateArn": Ref("cdn-certificate", "arn"),
                "minimumProtocolVersion": "TLSv1.2_2021",
                "sslSupportMethod": "sni-only",
            },
        ),
        declared(
            "cloudwatch.LogDeliverySource",
            "cdn-log",
            **cdn,
            name="cdn",
            resourceArn=Ref("cdn", "arn"),
        ),
        declared(
            "cloudwatch.LogDelivery",
            "cdn-delivery",
            **cdn,
            deliverySourceName=Ref("cdn-log", "name"),
            deliveryDestinationArn="arn:aws:logs:us-east-1:123456789012:delivery-destination:cdn",
        ),
    ]


PROGRAMS = (network, edge, cloudfront)
