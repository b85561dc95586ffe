"""A compliant program with a network."""

from typing import Any

from tests.policies.declared import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import TAGS, declared, document, kms, log_group

WORLD = "0.0.0.0/0"
ENDPOINTS = ("s3", "dynamodb", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms", "sts")
ENDPOINT_POLICY = document(
    {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
    }
)


def acl_rule(number: int, action: str, protocol: str, port: int) -> dict[str, Any]:
    return {
        **{"ruleNo": number, "action": action, "protocol": protocol},
        **{"fromPort": port, "toPort": port, "cidrBlock": WORLD},
    }


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
            for service in ENDPOINTS
        ),
        declared(
            "ec2.NetworkAcl",
            "acl",
            **vpc,
            ingress=[
                *(acl_rule(10, "deny", "tcp", port) for port in (22, 3389)),
                acl_rule(20, "allow", "-1", 0),
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
