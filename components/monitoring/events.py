"""The events of a stack: their patterns, and the event rules with an alarm.

Sources: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"; ECS Developer
Guide, "Amazon ECS service deployment state change events"; EventBridge User Guide, "Amazon
EventBridge event patterns".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.context import Stack
from components.monitoring.cloudwatch_alarm import Alarm, Metric
from components.naming import PAGES, TICKETS, Naming


@dataclass(frozen=True)
class EventRule:
    """An event rule with an alarm on its events.

    runbook: File name in docs/runbooks, without extension.
    """

    name: str
    description: str
    runbook: str
    pattern: dict[str, Any]
    severity: str = TICKETS

    def alarm(self, names: Naming) -> Alarm:
        """Return the alarm on the events. Failed invocations of the target count as well
        (EventBridge User Guide, "Monitoring Amazon EventBridge", read 2026-11-29).
        """
        metric = Metric("AWS/Events", "Invocations", {"RuleName": names.name(self.name)})
        return Alarm(self.name, self.description, self.runbook, metric, severity=self.severity)


def pattern(source: str, *kinds: str, **more: Any) -> dict[str, Any]:
    return {"source": [f"aws.{source}"], "detail-type": list(kinds), **more}


def deployment_pattern(names: Naming, event: str) -> dict[str, Any]:
    return _ecs_pattern(names, "ECS Deployment State Change", event)


def _ecs_pattern(names: Naming, kind: str, *events: str) -> dict[str, Any]:
    services = names.arn("ecs", f"service/{names.name('main')}/")
    detail = {"eventName": list(events)}
    return pattern("ecs", kind, resources=[{"prefix": services}], detail=detail)


def rotation_pattern(names: Naming, event: str) -> dict[str, Any]:
    secrets = names.arn("secretsmanager", f"secret:{names.secret('')}")
    secret = {"SecretId": [{"prefix": secrets}]}
    detail = {"eventName": [event], "additionalEventData": secret}
    return pattern("secretsmanager", "AWS Service Event via CloudTrail", detail=detail)


def event_rules(stack: Stack, keys: Sequence[pulumi.Input[str]]) -> Iterator[EventRule]:
    """Yield the event rules. Each matches only resources of this stack, unless its comment says
    otherwise. keys: ARNs of its KMS keys.
    """
    names = stack.names
    yield EventRule(
        "deployment-failed",
        "A deployment failed and ECS rolls it back. Check the events of the service.",
        "errors",
        deployment_pattern(names, "SERVICE_DEPLOYMENT_FAILED"),
        PAGES,
    )
    yield _key_rule(keys)
    # ECS reports the reason: capacity of Fargate, addresses of a subnet, network interfaces, a
    # missing image or secret, or a container that ends (ECS Developer Guide, "Amazon ECS service
    # action events", read 2026-11-30).
    yield EventRule(
        "tasks-not-started",
        "ECS cannot start or place tasks of a service. Read the reason in the events of the "
        "service: missing capacity, addresses, image or secret.",
        "errors",
        _ecs_pattern(
            names,
            "ECS Service Action",
            "SERVICE_TASK_START_IMPAIRED",
            "SERVICE_TASK_PLACEMENT_FAILURE",
            "SERVICE_TASK_CONFIGURATION_FAILURE",
        ),
    )
    yield EventRule(
        "rotation-failed",
        "Secrets Manager could not rotate a secret. The previous value remains in use. Check the "
        "log group of the rotation function.",
        "rotation-failure",
        rotation_pattern(names, "RotationFailed"),
    )
    yield _backup_rule(names)
    if stack.settings.recovery.stack:
        # The replica of the pepper. The documentation does not specify which field of the event
        # names the secret, so the rule matches all secrets of the account and region.
        detail = {"eventName": ["ReplicationFailed"]}
        yield EventRule(
            "secret-replication-failed",
            "Secrets Manager could not replicate a secret to the second region. A stack there "
            "cannot verify keys with a new pepper. Check the KMS key of the secret there.",
            "backup-failure",
            pattern("secretsmanager", "AWS Service Event via CloudTrail", detail=detail),
        )
    if stack.settings.monitoring.security_findings:
        yield from _finding_rules()


def _key_rule(keys: Sequence[pulumi.Input[str]]) -> EventRule:
    # CloudTrail delivers management events to EventBridge (KMS Developer Guide, "DisableKey" and
    # "ScheduleKeyDeletion" under "AWS CloudTrail log entries"; EventBridge User Guide, "AWS service
    # events delivered via AWS CloudTrail"; read 2026-11-30). Calls that failed have an error code.
    detail = {
        "eventName": ["DisableKey", "ScheduleKeyDeletion"],
        "errorCode": [{"exists": False}],
        "resources": {"ARN": list(keys)},
    }
    return EventRule(
        "key-disabled",
        "A KMS key of the stack was disabled or scheduled for deletion: what it encrypts becomes "
        "unreadable within minutes. Find the caller in the trail, and enable the key.",
        "encryption-key",
        pattern("kms", "AWS API Call via CloudTrail", detail=detail),
        PAGES,
    )


def _backup_rule(names: Naming) -> EventRule:
    vaults = names.arn("backup", f"backup-vault:{names.name('')}")
    detail = {
        "state": ["ABORTED", "EXPIRED", "FAILED"],
        "$or": [
            {"backupVaultName": [{"prefix": names.name("")}]},
            {"sourceBackupVaultArn": [{"prefix": vaults}]},
        ],
    }
    return EventRule(
        "backup-failed",
        "A backup job or the copy of a backup failed, expired or was aborted. The latest recovery "
        "point is from an earlier job. Read the status message of the job.",
        "backup-failure",
        pattern("backup", "Backup Job State Change", "Copy Job State Change", detail=detail),
    )


def _finding_rules() -> Iterator[EventRule]:
    """Yield the rules for security findings on all resources of the account and region."""
    yield EventRule(
        "guardduty-finding",
        "GuardDuty reports a finding of medium or higher severity. Open the finding in GuardDuty.",
        "security-findings",
        pattern("guardduty", "GuardDuty Finding", detail={"severity": [{"numeric": [">=", 4]}]}),
    )
    # The other rules report the findings of the products that are excluded. Security Hub sends a
    # finding again after each evaluation, until its workflow status changes.
    findings = {
        "ProductName": [{"anything-but": ["GuardDuty", "IAM Access Analyzer"]}],
        "RecordState": ["ACTIVE"],
        "Severity": {"Label": ["HIGH", "CRITICAL"]},
        "Workflow": {"Status": ["NEW"]},
    }
    yield EventRule(
        "security-hub-finding",
        "Security Hub reports a new finding of high or critical severity. Open the finding there.",
        "security-findings",
        pattern("securityhub", "Security Hub Findings - Imported", detail={"findings": findings}),
    )
    # The status of a deleted finding does not change (IAM User Guide, "Monitoring IAM Access
    # Analyzer with Amazon EventBridge").
    active = {"status": ["ACTIVE"], "isDeleted": [False]}
    yield EventRule(
        "access-analyzer-finding",
        "IAM Access Analyzer reports a resource that another account or the public can access. "
        "Open the finding there.",
        "security-findings",
        pattern("access-analyzer", "Access Analyzer Finding", detail=active),
    )
