"""One broken property at a time in the network, identities, the watch over them, and the program itself."""

from __future__ import annotations

from typing import Any

from policies.testing.harness import Declared, Ref
from tests.policies import programs
from tests.policies.breaks import Program, broken, changed, unprotected, without
from tests.policies.programs import TAGS, document, github_trust, grant


def task(**inputs: Any) -> Program:
    return changed(programs.ecs(), "task", **inputs)


def group(name: str, **inputs: Any) -> Declared:
    return Declared("aws:ec2/securityGroup:SecurityGroup", name, {"vpcId": Ref("vpc"), "description": name, **inputs})


EVERYTHING = {"protocol": "-1", "fromPort": 0, "toPort": 0}
WORLD_SSH = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 22, "toPort": 22}

CASES = [
    # --- VPC
    broken("GH-VPC-001", "vpc", "no flow log belongs to this VPC", without(programs.network(), "flow")),
    broken("GH-VPC-001", "vpc", "trafficType is not ALL in flow", changed(programs.network(), "flow", trafficType="REJECT")),
    broken(
        "GH-VPC-002",
        "vpc",
        "the VPC's default security group is not taken over",
        without(programs.network(), "default-group"),
    ),
    broken(
        "GH-VPC-002",
        "vpc",
        "ingress is not empty in default-group",
        changed(programs.network(), "default-group", ingress=[{"protocol": "-1", "self": True, "fromPort": 0, "toPort": 0}]),
    ),
    broken(
        "GH-VPC-003",
        "app-a",
        "mapPublicIpOnLaunch is true",
        changed(programs.network(), "app-a", mapPublicIpOnLaunch=True),
    ),
    broken(
        "GH-VPC-004",
        "from-balancer",
        "the rule lets the whole internet in on other ports than 443 and 80",
        changed(programs.edge(), "from-balancer", referencedSecurityGroupId=None, **WORLD_SSH),
    ),
    broken(
        "GH-VPC-004",
        "from-balancer",
        "the rule lets the whole internet in, and the group is not a load balancer's",
        changed(
            programs.edge(),
            "from-balancer",
            referencedSecurityGroupId=None,
            **{**WORLD_SSH, "fromPort": 443, "toPort": 443},
        ),
    ),
    *(
        broken(
            "GH-VPC-004",
            "from-balancer",
            "the rule lets the whole internet in on other ports than 443 and 80",
            changed(programs.edge(), "from-balancer", referencedSecurityGroupId=None, **{**WORLD_SSH, **half}),
        )
        for half in ({"cidrIpv4": "128.0.0.0/1"}, {"cidrIpv4": None, "cidrIpv6": "2000::/3"})
    ),
    broken(
        "GH-VPC-004",
        "loose",
        "ingress[0] lets the whole internet in on other ports than 443 and 80",
        [*programs.edge(), group("loose", ingress=[{**EVERYTHING, "description": "all", "ipv6CidrBlocks": ["::/0"]}])],
    ),
    broken(
        "GH-VPC-009",
        "s3-endpoint",
        "the endpoint has the default policy, which allows everything",
        changed(programs.network(), "s3-endpoint", policy=None),
    ),
    broken(
        "GH-VPC-010",
        "service",
        "the subnet edge-a is public",
        changed(programs.ecs(), "service", networkConfiguration={"subnets": [Ref("edge-a"), Ref("app-b")]}),
    ),
    broken(
        "GH-VPC-010",
        "cache-subnets",
        "the subnet app-a of a data store reaches the internet through a NAT gateway",
        changed(programs.stores(), "cache-subnets", subnetIds=[Ref("app-a"), Ref("data-b")]),
    ),
    broken(
        "GH-VPC-010",
        "default",
        "the default VPC is used",
        [Declared("aws:ec2/defaultVpc:DefaultVpc", "default", {})],
        fix="declare an aws.ec2.Vpc of your own",
    ),
    # --- IAM
    broken(
        "GH-IAM-002",
        "task-rights",
        "a statement allows dynamodb:*",
        changed(programs.roles(), "task-rights", policy=grant(Action="dynamodb:*", Resource="arn:aws:dynamodb:::table/a")),
    ),
    broken(
        "GH-IAM-002",
        "task-rights",
        'a statement allows s3:GetObject on "*" without a condition',
        changed(programs.roles(), "task-rights", policy=grant(Resource="*")),
    ),
    broken(
        "GH-IAM-002",
        "ceiling",
        "a statement allows s3:*",
        # A boundary that somebody also attaches grants what it was meant to bound.
        changed(
            changed(programs.roles(), "ceiling", policy=grant(Action="s3:*")), "reading-for-task", policyArn=Ref("ceiling", "arn")
        ),
    ),
    broken(
        "GH-IAM-003",
        "audit-for-deployer",
        "policyArn names the AWS-managed policy AdministratorAccess",
        changed(programs.roles(), "audit-for-deployer", policyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
    ),
    broken(
        "GH-IAM-004",
        "task-role",
        "the trust policy lets ecs-tasks.amazonaws.com assume the role without aws:SourceAccount or aws:SourceArn",
        changed(
            programs.roles(),
            "task-role",
            assumeRolePolicy=document(
                {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ),
        ),
    ),
    broken(
        "GH-IAM-005",
        "deployer",
        "the subject (sub) is not tied with StringEquals",
        changed(
            programs.roles(),
            "deployer",
            assumeRolePolicy=github_trust(
                StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"},
                StringLike={"token.actions.githubusercontent.com:sub": "repo:acme/*"},
            ),
        ),
    ),
    broken(
        "GH-IAM-006",
        "robot",
        "the program makes an IAM AccessKey",
        [Declared("aws:iam/accessKey:AccessKey", "robot", {"user": "robot"})],
    ),
    broken(
        "GH-IAM-008",
        "task-role",
        "the role sets inlinePolicies and has RolePolicy resources as well",
        changed(programs.roles(), "task-role", inlinePolicies=[{"name": "more", "policy": grant()}]),
    ),
    # --- CloudTrail, CloudWatch, Lambda
    broken(
        "GH-CT-001",
        "trail",
        "isMultiRegionTrail is not true",
        changed(programs.watch(), "trail", isMultiRegionTrail=False),
    ),
    broken("GH-CT-002", "trail", "kmsKeyId is not set", changed(programs.watch(), "trail", kmsKeyId=None)),
    broken(
        "GH-CT-003",
        "trail",
        "enableLogFileValidation is not true",
        changed(programs.watch(), "trail", enableLogFileValidation=None),
    ),
    broken(
        "GH-CT-004",
        "trail",
        "cloudWatchLogsRoleArn is not set",
        changed(programs.watch(), "trail", cloudWatchLogsRoleArn=None),
    ),
    broken(
        "GH-CW-001",
        "trail-logs",
        "retentionInDays is below 365",
        changed(programs.watch(), "trail-logs", retentionInDays=30),
    ),
    broken("GH-CW-002", "trail-logs", "kmsKeyId is not set", changed(programs.watch(), "trail-logs", kmsKeyId=None)),
    broken("GH-CW-003", "errors", "alarmActions is empty", changed(programs.watch(), "errors", alarmActions=[])),
    broken(
        "GH-LAM-003",
        "rotate",
        "the environment variable API_TOKEN seems to hold a secret",
        changed(programs.watch(), "rotate", environment={"variables": {"API_TOKEN": "hunter2"}}),
    ),
    broken(
        "GH-LAM-004",
        "rotate-from-secrets",
        "the permission names neither sourceArn nor sourceAccount",
        changed(programs.watch(), "rotate-from-secrets", sourceAccount=None),
    ),
    # --- The program
    broken("GH-PUL-001", "key", "protect is not set", unprotected(programs.kms(), "key")),
    broken(
        "GH-PUL-002",
        "main",
        "the provider names no allowedAccountIds",
        changed(programs.watch(), "main", allowedAccountIds=None),
    ),
    broken(
        "GH-TAG-001",
        "key",
        "the tag Owner is missing",
        changed(programs.kms(), "key", tags={key: value for key, value in TAGS.items() if key != "Owner"}),
    ),
    broken(
        "GH-TAG-001",
        "key",
        "the tag DataClass says none, and the resource holds data",
        changed(programs.kms(), "key", tags={**TAGS, "DataClass": "none"}),
    ),
]
