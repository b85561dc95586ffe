"""Compliant programs with account settings, backups, APIs and a bucket that receives a trail."""

import json
from typing import Any

from tests.policies.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import (
    DATA_EVENTS,
    MANAGEMENT_EVENTS,
    Program,
    changed,
    declared,
    document,
    find,
    kms,
    tls_only,
    without,
)
from tests.policies.rules.network_programs import distribution
from tests.policies.rules.programs import s3, watch

ROOT = "pulumi:pulumi:Stack"


def account() -> Program:
    """The stack resource with its outputs, and the account baseline."""
    return [
        # The properties of the stack resource are the outputs; constants are known at a first
        # preview.
        Declared(ROOT, "acme-prod", {"environment": "prod"}),
        *s3(),
        declared(
            "s3.AccountPublicAccessBlock",
            "account-block",
            **dict.fromkeys(
                (
                    "blockPublicAcls",
                    "blockPublicPolicy",
                    "ignorePublicAcls",
                    "restrictPublicBuckets",
                ),
                True,
            ),
        ),
        declared(
            "cfg.Recorder", "recorder", name="acme", roleArn=f"arn:aws:iam::{ACCOUNT}:role/config"
        ),
        declared("cfg.RecorderStatus", "recorder-status", name="acme", isEnabled=True),
        declared("guardduty.Detector", "detector", enable=True),
        declared("securityhub.Account", "hub"),
        declared("accessanalyzer.Analyzer", "analyzer", analyzerName="acme"),
        declared("ebs.EncryptionByDefault", "ebs-encryption", enabled=True),
        declared(
            "budgets.Budget",
            "budget",
            notifications=[
                {
                    "notificationType": kind,
                    "threshold": 80,
                    "subscriberEmailAddresses": ["owner@example.com"],
                }
                for kind in ("ACTUAL", "FORECASTED")
            ],
        ),
        declared("costexplorer.AnomalyMonitor", "anomalies", monitorType="DIMENSIONAL"),
        declared(
            "costexplorer.AnomalySubscription",
            "anomaly-mails",
            monitorArnLists=[Ref("anomalies", "arn")],
        ),
    ]


def backup() -> Program:
    vault = {"backupVaultName": Ref("vault")}
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "backup:DeleteRecoveryPoint",
        "Resource": "*",
    }
    return [
        *kms(),
        declared("backup.Vault", "vault", kmsKeyArn=Ref("key", "arn")),
        declared("backup.VaultLockConfiguration", "lock", **vault, minRetentionDays=7),
        declared("backup.VaultPolicy", "vault-policy", **vault, policy=document(deny)),
        declared(
            "backup.Plan",
            "plan",
            rules=[
                {
                    "schedule": "cron(0 3 * * ? *)",
                    "lifecycle": {"deleteAfter": 35},
                    "copyActions": [
                        {
                            "destinationVaultArn": (
                                f"arn:aws:backup:eu-central-1:{ACCOUNT}:backup-vault:far"
                            )
                        }
                    ],
                }
            ],
        ),
        declared(
            "backup.VaultNotifications",
            "vault-events",
            **vault,
            snsTopicArn=f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms",
            backupVaultEvents=["BACKUP_JOB_COMPLETED", "COPY_JOB_FAILED"],
        ),
    ]


OPENAPI: dict[str, Any] = {
    "openapi": "3.0.1",
    "paths": {
        "/things": {
            "parameters": [],
            "get": {"security": [{"iam": []}]},
            "options": {},
            "post": {},
        }
    },
    "security": [{"iam": []}],
    "components": {
        "securitySchemes": {
            "iam": {
                "type": "apiKey",
                "name": "Authorization",
                "in": "header",
                "x-amazon-apigateway-authtype": "awsSigv4",
            },
            "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
        }
    },
}


def api() -> Program:
    return [
        declared(
            "apigateway.RestApi",
            "rest",
            disableExecuteApiEndpoint=True,
            endpointConfiguration={"types": "REGIONAL"},
            body=json.dumps(OPENAPI),
        ),
        declared(
            "apigateway.Stage",
            "stage",
            restApi=Ref("rest"),
            accessLogSettings={"destinationArn": "arn:aws:logs:::group", "format": "{}"},
            xrayTracingEnabled=True,
        ),
        declared(
            "wafv2.WebAclAssociation",
            "stage-firewall",
            resourceArn=Ref("stage", "arn"),
            webAclArn="a",
        ),
        declared(
            "apigateway.Method",
            "post",
            httpMethod="POST",
            authorization="AWS_IAM",
            requestValidatorId="v-1",
        ),
        declared("apigateway.Method", "preflight", httpMethod="OPTIONS", authorization="NONE"),
        declared(
            "apigateway.MethodSettings",
            "settings",
            settings={"throttlingRateLimit": 100, "throttlingBurstLimit": 50},
        ),
        declared("apigateway.DomainName", "domain", securityPolicy="TLS_1_2"),
        declared("apigatewayv2.Api", "http", protocolType="HTTP", disableExecuteApiEndpoint=True),
        declared("apigatewayv2.Route", "route", routeKey="GET /things", authorizationType="JWT"),
        declared(
            "apigatewayv2.Stage",
            "http-stage",
            accessLogSettings={"destinationArn": "arn:aws:logs:::group", "format": "{}"},
        ),
        declared(
            "apigatewayv2.DomainName",
            "http-domain",
            domainNameConfiguration={"securityPolicy": "TLS_1_2"},
        ),
        *distribution("arn:aws:wafv2:::acl"),
    ]


TRAIL_WRITES = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::acme-files/*",
    "Condition": {
        "StringEquals": {"aws:SourceArn": f"arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/acme"}
    },
}
"""Statement that allows one trail to deliver log files."""


def trail() -> Program:
    """A bucket that receives the log files of a trail."""
    files = find(s3(), "files")
    purpose = {**files.inputs["tags"], "gatehouse:purpose": "trail"}
    program = changed(without(s3(), "files-replication", "selection"), "files", tags=purpose)
    return [
        *changed(program, "files-policy", policy=document(*tls_only("acme-files"), TRAIL_WRITES)),
        declared(
            "s3.BucketObjectLockConfiguration",
            "files-lock",
            bucket=Ref("files", "bucket"),
            rule={"defaultRetention": {"mode": "COMPLIANCE", "days": 365}},
        ),
        declared(
            "cloudtrail.Trail",
            "trail",
            s3BucketName=Ref("files", "bucket"),
            advancedEventSelectors=[DATA_EVENTS, MANAGEMENT_EVENTS],
            isMultiRegionTrail=True,
            enableLogFileValidation=True,
            kmsKeyId=Ref("key", "arn"),
            cloudWatchLogsGroupArn="arn:aws:logs:::group",
            cloudWatchLogsRoleArn="arn:aws:iam:::role",
        ),
        *watch_of_trail(),
    ]


def watch_of_trail() -> Program:
    return [
        resource
        for resource in watch()
        if resource.name.endswith(("-filter", "-observed", "trail-logs", "alarms", "alarms-policy"))
    ]


PROGRAMS = (account, backup, api, trail)
