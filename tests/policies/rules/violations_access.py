"""Programs that allow access from other accounts, escalate privileges or trust an identity
provider, and compliant variants.
"""

from typing import Any

from tests.policies.pack_process import ACCOUNT, Ref
from tests.policies.rules.builders import (
    KEY_POLICY,
    ROOT_STATEMENT,
    Program,
    by_change,
    changed,
    declared,
    document,
    github_trust,
    grant,
    kms,
    roles,
    topic_policy,
    violation,
)
from tests.policies.rules.programs import OTHER_READERS, secrets, watch

STRANGER = "999999999999"
STRANGER_ROOT = {"AWS": f"arn:aws:iam::{STRANGER}:root"}


def trust(principal: Any, action: str = "sts:AssumeRole", **conditions: dict[str, str]) -> str:
    allow = {"Effect": "Allow", "Principal": principal, "Action": action}
    return document({**allow, **({"Condition": conditions} if conditions else {})})


def federated(provider: str, **conditions: dict[str, str]) -> str:
    return trust({"Federated": provider}, "sts:AssumeRoleWithWebIdentity", **conditions)


def oidc(issuer: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"


def enterprise_trust(subject: str) -> str:
    """A trust policy for the issuer of a GitHub enterprise."""
    host = "token.actions.githubusercontent.com/acme"
    return federated(
        oidc(host), StringEquals={f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": subject}
    )


def replica(policy: str | None) -> Program:
    """A multi-Region key with a replica."""
    return [
        *changed(kms(), "key", multiRegion=True),
        declared(
            "kms.ReplicaKey",
            "replica",
            primaryKeyArn=Ref("key", "arn"),
            policy=policy,
            region="eu-central-1",
        ),
    ]


def stranger_statement(action: str, **changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": STRANGER_ROOT,
        "Action": action,
        "Resource": "*",
        **changes,
    }


DUPLICATE_KEY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Effect": "Deny", '
    '"Action": "s3:GetObject"}]}'
)
GITLAB = {"gitlab.com:aud": "https://gitlab.com"}
ESCALATIONS = {
    "iam:AttachRolePolicy": f"arn:aws:iam::{ACCOUNT}:role/*",
    "iam:PutRolePolicy": "*",
    "iam:CreatePolicyVersion": f"arn:aws:iam::{ACCOUNT}:policy/*",
    "lambda:UpdateFunctionCode": "*",
    "sts:AssumeRole": "arn:aws:iam::*:role/*",
    "ssm:SendCommand": "*",
}

VIOLATIONS = [
    violation("GH-KMS-002", "replica", "default", replica(None)),
    *(
        by_change("GH-IAM-004", roles, "task-role", mention, assumeRolePolicy=policy)
        for mention, policy in (
            (STRANGER, trust(STRANGER_ROOT)),
            (STRANGER, trust({"AWS": STRANGER}, StringEquals={"sts:ExternalId": "acme"})),
            (STRANGER, trust("*", StringEquals={"aws:PrincipalAccount": STRANGER})),
            ("(sub) of gitlab.com", federated(oidc("gitlab.com"), StringEquals=GITLAB)),
            (
                "(sub) of gitlab.com",
                federated(
                    oidc("gitlab.com"), StringEquals=GITLAB, StringLike={"gitlab.com:sub": "*"}
                ),
            ),
            ("neither", federated(oidc("login.acme.example"))),
            (
                "saml:aud",
                trust(
                    {"Federated": f"arn:aws:iam::{ACCOUNT}:saml-provider/acme"},
                    "sts:AssumeRoleWithSAML",
                ),
            ),
            ("cognito-identity.amazonaws.com:aud", federated("cognito-identity.amazonaws.com")),
        )
    ),
    *(
        by_change("GH-IAM-005", roles, "deployer", "sub", assumeRolePolicy=policy)
        for policy in (
            github_trust(
                StringEquals={
                    "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                    "token.actions.githubusercontent.com:sub": "repo:acme/gateway:pull_request",
                }
            ),
            enterprise_trust("repo:acme/gateway:*"),
        )
    ),
    *(
        by_change(
            "GH-IAM-007",
            roles,
            "task-rights",
            action,
            policy=grant(Action=action, Resource=resource),
        )
        for action, resource in ESCALATIONS.items()
    ),
    by_change(
        "GH-KMS-002",
        kms,
        "key",
        STRANGER,
        policy=document(ROOT_STATEMENT, stranger_statement("kms:Decrypt")),
    ),
    violation(
        "GH-KMS-002",
        "replica",
        '"*"',
        replica(document(ROOT_STATEMENT, stranger_statement("kms:Decrypt", Principal="*"))),
    ),
    violation(
        "GH-KMS-002",
        "replica",
        STRANGER,
        replica(document(ROOT_STATEMENT, stranger_statement("kms:Decrypt"))),
    ),
    by_change(
        "GH-SNS-001",
        watch,
        "alarms-policy",
        STRANGER,
        reported="alarms",
        policy=topic_policy(stranger_statement("sns:Subscribe")),
    ),
    by_change(
        "GH-LAM-004",
        watch,
        "rotate-from-secrets",
        STRANGER,
        principal=f"arn:aws:iam::{STRANGER}:role/caller",
        sourceAccount=None,
    ),
    by_change("GH-LAM-004", watch, "rotate-from-secrets", STRANGER, sourceAccount=STRANGER),
    by_change(
        "GH-SM-004",
        secrets,
        "pepper-policy",
        STRANGER,
        policy=document(stranger_statement("secretsmanager:GetSecretValue"), OTHER_READERS),
    ),
]

STATEMENTS: dict[str, dict[str, Any]] = {
    "actions without resource-level permissions": {
        "Action": [
            *(
                "ECR:getauthorizationtoken",
                "ce:GetCostAndUsage",
                "pricing:GetProducts",
                "textract:DetectDocumentText",
            ),
            *(
                "ec2:Describe*",
                "ec2:DescribeInstances",
                "s3:ListAllMyBuckets",
                "cloudwatch:PutMetricData",
            ),
            *(
                "xray:PutTraceSegments",
                "sts:GetCallerIdentity",
                "logs:DescribeLogGroups",
                "ssmmessages:OpenDataChannel",
            ),
            *(
                "kms:ListAliases",
                "rds:DescribeDBInstances",
                "tag:GetResources",
                "ec2:CreateNetworkInterface",
            ),
        ],
        "Resource": "*",
    },
    "tag condition": {
        "Action": "ec2:StopInstances",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}},
    },
    "one function": {
        "Action": "lambda:UpdateFunctionCode",
        "Resource": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:acme",
    },
    "condition on the policy": {
        "Action": "iam:AttachRolePolicy",
        "Resource": "*",
        "Condition": {"ArnEquals": {"iam:PolicyARN": f"arn:aws:iam::{ACCOUNT}:policy/reading"}},
    },
}

COMPLIANT: dict[str, Program] = {
    **{
        f"trust policy: {name}": changed(roles(), "task-role", assumeRolePolicy=policy)
        for name, policy in {
            "role of the account": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:role/caller"}),
            "organization": trust("*", StringEquals={"aws:PrincipalOrgID": "o-a1b2c3d4e5"}),
            "GitLab with a project": federated(
                oidc("gitlab.com"),
                StringEquals={
                    **GITLAB,
                    "gitlab.com:sub": "project_path:acme/gateway:ref_type:branch:ref:main",
                },
            ),
            "service account of Amazon EKS": federated(
                oidc("oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"),
                StringEquals={
                    "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE:sub": "system:serviceaccount:apps:gateway",  # noqa: E501
                    "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE:aud": "sts.amazonaws.com",
                },
            ),
            "SAML with an audience": trust(
                {"Federated": f"arn:aws:iam::{ACCOUNT}:saml-provider/acme"},
                "sts:AssumeRoleWithSAML",
                StringEquals={"SAML:aud": "https://signin.aws.amazon.com/saml"},
            ),
        }.items()
    },
    "trust policy: GitHub enterprise": changed(
        roles(), "deployer", assumeRolePolicy=enterprise_trust("repo:acme/gateway:environment:prod")
    ),
    **{
        f"identity policy: {name}": changed(roles(), "task-rights", policy=grant(**statement))
        for name, statement in STATEMENTS.items()
    },
    "AWS managed policy of Lambda": changed(
        roles(),
        "audit-for-deployer",
        policyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    ),
    "AWS managed policy of Amazon EKS": changed(
        roles(), "audit-for-deployer", policyArn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    ),
    "replica key with its own policy": replica(KEY_POLICY),
}
