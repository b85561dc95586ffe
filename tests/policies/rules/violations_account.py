"""Programs that violate one control: IAM, CloudTrail, CloudWatch, SNS, account settings and the Pulumi program."""

from __future__ import annotations

from policies.testing.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules import account_programs, builders, network_programs, programs
from tests.policies.rules.builders import (
    TAGS,
    Program,
    changed,
    data_events,
    document,
    github_trust,
    grant,
    kms,
    masking,
    tls_only,
    topic_policy,
    unprotected,
    violation,
    without,
)

PUBLISH = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}


def trail_without_access_log() -> Program:
    """A bucket with the log-sink tag is exempt from GH-S3-010, but not from GH-CT-006."""
    program = without(account_programs.trail(), "files-logging")
    files = next(resource for resource in program if resource.name == "files")
    purpose = {**files.inputs["tags"], "gatehouse:purpose": "log-sink"}
    return changed(program, "files", tags=purpose)


VIOLATIONS = [
    violation(
        "GH-IAM-002",
        "task-rights",
        "dynamodb:*",
        changed(builders.roles(), "task-rights", policy=grant(Action="dynamodb:*", Resource="arn:aws:dynamodb:::table/a")),
    ),
    violation("GH-IAM-002", "task-rights", "s3:GetObject", changed(builders.roles(), "task-rights", policy=grant(Resource="*"))),
    violation(
        "GH-IAM-002",
        "boundary",
        "s3:*",
        changed(
            changed(builders.roles(), "boundary", policy=grant(Action="s3:*")),
            "reading-for-task",
            policyArn=Ref("boundary", "arn"),
        ),
    ),
    violation(
        "GH-IAM-003",
        "audit-for-deployer",
        "policyArn",
        changed(builders.roles(), "audit-for-deployer", policyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
    ),
    violation(
        "GH-IAM-004",
        "task-role",
        "ecs-tasks.amazonaws.com",
        changed(
            builders.roles(),
            "task-role",
            assumeRolePolicy=document(
                {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ),
        ),
    ),
    violation(
        "GH-IAM-005",
        "deployer",
        "StringEquals",
        changed(
            builders.roles(),
            "deployer",
            assumeRolePolicy=github_trust(
                StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"},
                StringLike={"token.actions.githubusercontent.com:sub": "repo:acme/*"},
            ),
        ),
    ),
    violation("GH-IAM-006", "robot", "AccessKey", [Declared("aws:iam/accessKey:AccessKey", "robot", {"user": "robot"})]),
    violation("GH-IAM-007", "task-role", "permissionsBoundary", changed(builders.roles(), "task-role", permissionsBoundary=None)),
    violation(
        "GH-IAM-007",
        "task-rights",
        "iam:PassRole",
        changed(
            builders.roles(),
            "task-rights",
            policy=grant(Action="iam:PassRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/acme-*"),
        ),
    ),
    violation(
        "GH-IAM-008",
        "task-role",
        "inlinePolicies",
        changed(builders.roles(), "task-role", inlinePolicies=[{"name": "more", "policy": grant()}]),
    ),
    violation("GH-CT-001", "trail", "isMultiRegionTrail", changed(programs.watch(), "trail", isMultiRegionTrail=False)),
    violation("GH-CT-002", "trail", "kmsKeyId", changed(programs.watch(), "trail", kmsKeyId=None)),
    violation("GH-CT-003", "trail", "enableLogFileValidation", changed(programs.watch(), "trail", enableLogFileValidation=None)),
    violation("GH-CT-004", "trail", "cloudWatchLogsRoleArn", changed(programs.watch(), "trail", cloudWatchLogsRoleArn=None)),
    violation(
        "GH-CT-005", "trail", "S3", changed(programs.watch(), "trail", advancedEventSelectors=[data_events(readOnly="false")])
    ),
    violation("GH-CT-006", "trail", "logging", trail_without_access_log()),
    violation(
        "GH-CT-006",
        "trail",
        "CloudTrail",
        changed(
            account_programs.trail(),
            "files-policy",
            policy=document(*tls_only("acme-files"), account_programs.trail_writes(Condition={})),
        ),
    ),
    violation("GH-CW-001", "trail-logs", "retentionInDays", changed(programs.watch(), "trail-logs", retentionInDays=30)),
    violation("GH-CW-002", "trail-logs", "kmsKeyId", changed(programs.watch(), "trail-logs", kmsKeyId=None)),
    violation("GH-CW-003", "errors", "alarmActions", changed(programs.watch(), "errors", alarmActions=[])),
    violation("GH-CW-004", "trail", "5.3", without(programs.watch(), "root-filter")),
    violation("GH-CW-004", "trail", "5.14", without(programs.watch(), "vpcs-observed")),
    violation("GH-CW-005", "database", "monitors", without(programs.rds(), "database-alarm")),
    violation("GH-CW-005", "balancer", "AWS/ApplicationELB", changed(network_programs.edge(), "dashboard", dashboardBody="{}")),
    violation("GH-CW-006", "task", "gateway-logs", without(programs.ecs(), "gateway-logs-masking")),
    violation(
        "GH-CW-006", "task", "gateway-logs", changed(programs.ecs(), "gateway-logs-masking", policyDocument=masking("Audit"))
    ),
    violation(
        "GH-CW-006",
        "task",
        "gateway-logs",
        changed(programs.ecs(), "gateway-logs-masking", policyDocument=masking(identifier="EmailAddress")),
    ),
    violation("GH-SNS-001", "alarms", "kmsMasterKeyId", changed(programs.watch(), "alarms", kmsMasterKeyId=None)),
    violation("GH-SNS-001", "alarms", "TLS", without(programs.watch(), "alarms-policy")),
    violation("GH-SNS-001", "alarms", '"*"', changed(programs.watch(), "alarms-policy", policy=topic_policy(PUBLISH))),
    *(
        violation("GH-ACC-001", "acme-prod", type, without(account_programs.account(), name))
        for name, type in {
            "recorder": "aws.cfg.Recorder",
            "detector": "GuardDuty",
            "hub": "aws.securityhub.Account",
            "analyzer": "aws.accessanalyzer.Analyzer",
            "ebs-encryption": "aws.ebs.EncryptionByDefault",
        }.items()
    ),
    violation("GH-ACC-001", "acme-prod", "detector", changed(account_programs.account(), "detector", enable=False)),
    violation(
        "GH-COST-001",
        "acme-prod",
        "FORECASTED",
        changed(
            account_programs.account(),
            "budget",
            notifications=[
                {"notificationType": "ACTUAL", "subscriberEmailAddresses": ["owner@example.com"]},
                {"notificationType": "FORECASTED", "subscriberEmailAddresses": []},
            ],
        ),
    ),
    violation("GH-COST-001", "acme-prod", "AnomalyMonitor", without(account_programs.account(), "anomalies")),
    violation(
        "GH-TAG-001",
        "key",
        "Owner",
        changed(builders.kms(), "key", tags={key: value for key, value in TAGS.items() if key != "Owner"}),
    ),
    violation("GH-TAG-001", "key", "DataClass", changed(builders.kms(), "key", tags={**TAGS, "DataClass": "none"})),
    violation("GH-PUL-001", "key", "protect", unprotected(builders.kms(), "key")),
    violation("GH-PUL-002", "main", "allowedAccountIds", changed(programs.watch(), "main", allowedAccountIds=None)),
    violation("GH-PUL-003", "key-alias", "Regions", changed(kms(), "key-alias", region="us-west-2")),
    violation("GH-PUL-004", "files", "versioning", changed(programs.s3(), "files", versioning={"enabled": True})),
    violation(
        "GH-PUL-004",
        "old",
        "aws.alb",
        [
            *network_programs.edge(),
            Declared(
                "aws:alb/targetGroup:TargetGroup",
                "old",
                {"vpcId": Ref("vpc"), "protocol": "HTTPS", "healthCheck": {"path": "/"}},
            ),
        ],
    ),
    violation(
        "GH-PUL-005", "acme-prod", "database.adminPassword", account_programs.account(database={"adminPassword": "correct horse"})
    ),
]
