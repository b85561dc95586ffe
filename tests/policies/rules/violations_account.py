"""Programs that violate one control: IAM, CloudTrail, CloudWatch, SNS, account settings and the
Pulumi program.
"""

from typing import Any

from tests.policies.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules.account_programs import account, trail, trail_writes
from tests.policies.rules.builders import (
    MANAGEMENT_EVENTS,
    TAGS,
    Program,
    by_change,
    changed,
    data_events,
    declared,
    document,
    github_trust,
    grant,
    kms,
    masking,
    roles,
    service_trust,
    tls_only,
    topic_policy,
    unprotected,
    violation,
    without,
)
from tests.policies.rules.network_programs import edge
from tests.policies.rules.programs import ecs, rds, s3, watch
from tests.policies.rules.violations_access import STRANGER, STRANGER_ROOT

PUBLISH = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}


def trail_without_access_log() -> Program:
    """A bucket with the log-sink tag is exempt from GH-S3-010, but not from GH-CT-006."""
    program = without(trail(), "files-logging")
    files = next(resource for resource in program if resource.name == "files")
    purpose = {**files.inputs["tags"], "gatehouse:purpose": "log-sink"}
    return changed(program, "files", tags=purpose)


def trust_of_repository(repository: str) -> str:
    host = "token.actions.githubusercontent.com"
    return github_trust(
        StringEquals={
            f"{host}:aud": "sts.amazonaws.com",
            f"{host}:sub": f"repo:{repository}:environment:prod",
        }
    )


DELIVERY = {
    "Effect": "Allow",
    "Principal": {"Service": "delivery.logs.amazonaws.com"},
    "Action": "logs:PutLogEvents",
    "Resource": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/acme/*",
}


def log_policy(statement: dict[str, Any]) -> Declared:
    return declared(
        "cloudwatch.LogResourcePolicy",
        "delivery",
        policyName="delivery",
        policyDocument=document(statement),
    )


VIOLATIONS = [
    by_change(
        "GH-IAM-002",
        roles,
        "task-rights",
        "dynamodb:*",
        policy=grant(Action="dynamodb:*", Resource="arn:aws:dynamodb:::table/a"),
    ),
    by_change("GH-IAM-002", roles, "task-rights", "s3:GetObject", policy=grant(Resource="*")),
    violation(
        "GH-IAM-002",
        "boundary",
        "s3:*",
        changed(
            changed(roles(), "boundary", policy=grant(Action="s3:*")),
            "reading-for-task",
            policyArn=Ref("boundary", "arn"),
        ),
    ),
    *(
        by_change("GH-IAM-002", roles, "task-rights", mention, policy=grant(**statement))
        for mention, statement in (
            ("s3:GetObject", {"Resource": "arn:aws:s3:::*"}),
            ("s3:GetObject", {"Resource": "arn:aws:*:*:*:*"}),
            ("s3:Get*", {"Action": "s3:Get*", "Resource": "arn:aws:s3:::*/*"}),
            ("s3:?*", {"Action": "s3:?*"}),
            ("s3:*?", {"Action": "s3:*?"}),
            (
                "dynamodb:*Item",
                {"Action": "dynamodb:*Item", "Resource": "arn:aws:dynamodb:*:*:table/*"},
            ),
            (
                "s3:DeleteObject",
                {
                    "Action": "s3:DeleteObject",
                    "Resource": None,
                    "NotResource": "arn:aws:s3:::acme-files/*",
                },
            ),
            (
                "s3:GetObject",
                {"Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
            ),
            (
                "s3:GetObject",
                {"Resource": "*", "Condition": {"StringLike": {"aws:PrincipalAccount": "*"}}},
            ),
            (
                "s3:GetObject",
                {
                    "Resource": "*",
                    "Condition": {"StringEqualsIfExists": {"aws:PrincipalTag/team": "a"}},
                },
            ),
            (
                "secretsmanager:GetSecretValue",
                {"Action": "secretsmanager:GetSecretValue", "Resource": "*"},
            ),
        )
    ),
    by_change(
        "GH-IAM-003",
        roles,
        "audit-for-deployer",
        "policyArn",
        policyArn="arn:aws:iam::aws:policy/AdministratorAccess",
    ),
    by_change(
        "GH-IAM-004",
        roles,
        "task-role",
        "ecs-tasks.amazonaws.com",
        assumeRolePolicy=document(
            {
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ),
    ),
    by_change(
        "GH-IAM-005",
        roles,
        "deployer",
        "StringEquals",
        assumeRolePolicy=github_trust(
            StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"},
            StringLike={"token.actions.githubusercontent.com:sub": "repo:acme/*"},
        ),
    ),
    by_change(
        "GH-IAM-005",
        roles,
        "deployer",
        "octo-org/octo-repo",
        assumeRolePolicy=trust_of_repository("octo-org/octo-repo"),
    ),
    violation(
        "GH-IAM-006", "robot", "AccessKey", [declared("iam.AccessKey", "robot", user="robot")]
    ),
    by_change("GH-IAM-007", roles, "task-role", "permissionsBoundary", permissionsBoundary=None),
    by_change(
        "GH-IAM-007",
        roles,
        "task-rights",
        "iam:PassRole",
        policy=grant(Action="iam:PassRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/acme-*"),
    ),
    by_change(
        "GH-IAM-008",
        roles,
        "task-role",
        "inlinePolicies",
        inlinePolicies=[{"name": "more", "policy": grant()}],
    ),
    *(
        by_change(
            "GH-IAM-009",
            roles,
            "task-role",
            service,
            assumeRolePolicy=service_trust(service, **{operator: keys}),
        )
        for service, operator, keys in (
            ("ecs.amazonaws.com", "StringEquals", {"aws:SourceAccount": ACCOUNT}),
            ("s3.amazonaws.com", "ArnLike", {"aws:SourceArn": "arn:aws:s3:::acme-files"}),
        )
    ),
    by_change("GH-CT-001", watch, "trail", "isMultiRegionTrail", isMultiRegionTrail=False),
    by_change("GH-CT-002", watch, "trail", "kmsKeyId", kmsKeyId=None),
    by_change("GH-CT-003", watch, "trail", "enableLogFileValidation", enableLogFileValidation=None),
    by_change("GH-CT-004", watch, "trail", "cloudWatchLogsRoleArn", cloudWatchLogsRoleArn=None),
    by_change(
        "GH-CT-005",
        watch,
        "trail",
        "S3",
        advancedEventSelectors=[data_events(readOnly="false"), MANAGEMENT_EVENTS],
    ),
    violation("GH-CT-006", "trail", "logging", trail_without_access_log()),
    by_change(
        "GH-CT-006",
        trail,
        "files-policy",
        "CloudTrail",
        reported="trail",
        policy=document(*tls_only("acme-files"), trail_writes(Condition={})),
    ),
    by_change("GH-CW-001", watch, "trail-logs", "retentionInDays", retentionInDays=30),
    by_change("GH-CW-002", watch, "trail-logs", "kmsKeyId", kmsKeyId=None),
    by_change("GH-CW-003", watch, "errors", "alarmActions", alarmActions=[]),
    violation("GH-CW-004", "trail", "5.3", without(watch(), "root-filter")),
    violation("GH-CW-004", "trail", "5.14", without(watch(), "vpcs-observed")),
    violation("GH-CW-005", "database", "monitors", without(rds(), "database-alarm")),
    by_change(
        "GH-CW-005",
        edge,
        "dashboard",
        "AWS/ApplicationELB",
        reported="balancer",
        dashboardBody="{}",
    ),
    violation("GH-CW-006", "task", "gateway-logs", without(ecs(), "gateway-logs-masking")),
    by_change(
        "GH-CW-006",
        ecs,
        "gateway-logs-masking",
        "gateway-logs",
        reported="task",
        policyDocument=masking("Audit"),
    ),
    by_change(
        "GH-CW-006",
        ecs,
        "gateway-logs-masking",
        "gateway-logs",
        reported="task",
        policyDocument=masking(identifier="EmailAddress"),
    ),
    *(
        violation("GH-CW-007", "delivery", mention, [*watch(), log_policy(statement)])
        for mention, statement in (
            ('"*"', {**DELIVERY, "Principal": "*"}),
            ("delivery.logs.amazonaws.com", DELIVERY),
            (STRANGER, {**DELIVERY, "Principal": STRANGER_ROOT}),
        )
    ),
    by_change(
        "GH-IAM-010",
        watch,
        "alarms-policy",
        "budgets.amazonaws.com",
        policy=topic_policy({**PUBLISH, "Principal": {"Service": "budgets.amazonaws.com"}}),
    ),
    by_change("GH-SNS-001", watch, "alarms", "kmsMasterKeyId", kmsMasterKeyId=None),
    violation("GH-SNS-001", "alarms", "TLS", without(watch(), "alarms-policy")),
    by_change(
        "GH-SNS-001", watch, "alarms-policy", '"*"', reported="alarms", policy=topic_policy(PUBLISH)
    ),
    *(
        violation("GH-ACC-001", "acme-prod", type, without(account(), name))
        for name, type in {
            "recorder": "aws.cfg.Recorder",
            "detector": "GuardDuty",
            "hub": "aws.securityhub.Account",
            "analyzer": "aws.accessanalyzer.Analyzer",
            "ebs-encryption": "aws.ebs.EncryptionByDefault",
        }.items()
    ),
    by_change("GH-ACC-001", account, "detector", "detector", reported="acme-prod", enable=False),
    by_change(
        "GH-COST-001",
        account,
        "budget",
        "FORECASTED",
        reported="acme-prod",
        notifications=[
            {"notificationType": "ACTUAL", "subscriberEmailAddresses": ["owner@example.com"]},
            {"notificationType": "FORECASTED", "subscriberEmailAddresses": []},
        ],
    ),
    violation(
        "GH-COST-001", "acme-prod", "AnomalySubscription", without(account(), "anomaly-mails")
    ),
    by_change(
        "GH-TAG-001",
        kms,
        "key",
        "Owner",
        tags={key: value for key, value in TAGS.items() if key != "Owner"},
    ),
    by_change("GH-TAG-001", kms, "key", "DataClass", tags={**TAGS, "DataClass": "none"}),
    violation("GH-PUL-001", "key", "protect", unprotected(kms(), "key")),
    by_change("GH-PUL-002", watch, "main", "allowedAccountIds", allowedAccountIds=None),
    by_change("GH-PUL-003", kms, "key-alias", "Regions", region="us-west-2"),
    by_change("GH-PUL-004", s3, "files", "versioning", versioning={"enabled": True}),
    violation(
        "GH-PUL-004",
        "old",
        "aws.alb",
        [
            *edge(),
            declared(
                "alb.TargetGroup",
                "old",
                vpcId=Ref("vpc"),
                protocol="HTTPS",
                healthCheck={"path": "/"},
            ),
        ],
    ),
    violation(
        "GH-PUL-005",
        "acme-prod",
        "database.adminPassword",
        account(database={"adminPassword": "correct horse"}),
    ),
]
