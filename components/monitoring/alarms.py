"""The alarms and event rules of a stack, and the dashboard."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.iam.documents import render
from components.monitoring import metric_alarms
from components.monitoring.dashboard import dashboard_body
from components.monitoring.events import (
    deployment_pattern,
    pattern,
    rotation_pattern,
    secret_pattern,
)
from components.monitoring.log_alarms import log_alarms
from components.monitoring.metric_alarms import (
    MonitoredResources,
    composite_alarm,
    composite_alarms,
    metric_alarm,
)
from components.monitoring.synthetic_probe import probe_alarms
from components.naming import PAGES, TICKETS, Naming, tags


@dataclass(frozen=True)
class EventRule:
    """An event rule with an alarm on its events.

    runbook: File name in docs/runbooks, without extension.
    pattern: Event pattern. Source: EventBridge User Guide, "Amazon EventBridge event patterns".
    """

    name: str
    description: str
    runbook: str
    pattern: dict[str, Any]
    severity: str = TICKETS


class CompositeAlarms(StackComponent):
    """Composite alarms, which notify once for several symptoms of a cause.

    others: Alarms to which the rules refer.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        others: Sequence[pulumi.Resource],
        services: Iterable[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        created: dict[str, pulumi.Resource] = {}
        for alarm in composite_alarms(stack, services):
            suppressor = [created[alarm.suppressor]] if alarm.suppressor in created else []
            created[alarm.name] = composite_alarm(
                alarm, stack, topics, self, [*others, *suppressor]
            )
        self.register_outputs({})


class Alarms(StackComponent):
    """Alarms on errors, latency, health and saturation, event rules for security findings and for
    failed deployments, rotations and backups, and a dashboard.

    Why: Operators are notified before users report a problem, with a link to the runbook. The
    alarms of a service also roll back its deployment.
    """

    service_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that roll back a deployment, keyed by service."""
    created: list[pulumi.Resource]
    """Alarms to which composite alarms can refer."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        resources: MonitoredResources,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        names, settings = self.names, self.settings
        rules = [
            *event_rules(names),
            *(recovery_rules() if settings.recovery.stack else ()),
            *(finding_rules() if settings.monitoring.security_findings else ()),
        ]
        own = [
            *metric_alarms.resource_alarms(stack, resources),
            *(
                metric_alarms.event_alarm(
                    rule.name, rule.description, rule.runbook, rule.severity, names
                )
                for rule in (rules if settings.monitoring.creates_alarms else ())
            ),
        ]
        self.created = [metric_alarm(alarm, stack, topics, self) for alarm in own]
        self.service_alarms = {}
        for service, definitions in metric_alarms.service_alarms(stack, resources).items():
            alarms = [metric_alarm(alarm, stack, topics, self) for alarm in definitions]
            self.service_alarms[service] = [alarm.name for alarm in alarms]
            self.created += alarms
            own += definitions
        for rule in rules if settings.monitoring.creates_alarms else ():
            self._event_rule(rule, topics.notices["event"])
        shown = [
            *own,
            *(probe_alarms(stack) if settings.monitoring.probe else ()),
            *(row.alarm for row in log_alarms(stack)),
        ]
        composites = list(composite_alarms(stack, self.service_alarms))
        if not settings.monitoring.creates_alarms:
            shown, composites = own, []
        body = pulumi.Output.json_dumps(dashboard_body(stack, resources, shown, composites))
        aws.cloudwatch.Dashboard(
            name, dashboard_name=names.name("overview"), dashboard_body=body, opts=self.child
        )
        self.register_outputs({})

    def _event_rule(self, event: EventRule, topic_arn: pulumi.Input[str]) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=self.names.name(event.name),
            description=event.description,
            event_pattern=render(event.pattern),
            tags=tags("none"),
            opts=self.child,
        )
        aws.cloudwatch.EventTarget(
            event.name, rule=rule.name, arn=topic_arn, target_id="notices", opts=self.child
        )


def event_rules(names: Naming) -> Iterator[EventRule]:
    """Yield the event rules. Each rule matches only resources of this stack."""
    vaults = names.arn("backup", f"backup-vault:{names.name('')}")
    yield EventRule(
        "deployment-failed",
        "A deployment failed and ECS rolls it back. Check the events of the service.",
        "errors",
        deployment_pattern(names, "SERVICE_DEPLOYMENT_FAILED"),
        PAGES,
    )
    yield EventRule(
        "rotation-failed",
        "Secrets Manager could not rotate a secret. The previous value remains in use. Check the "
        "log group of the rotation function.",
        "rotation-failure",
        rotation_pattern(names, "RotationFailed"),
    )
    yield EventRule(
        "backup-failed",
        (
            "A backup job or the copy of a backup failed, expired or was aborted. The latest "
            "recovery point is from an earlier job. Read the status message of the job."
        ),
        "backup-failure",
        {
            "source": ["aws.backup"],
            "detail-type": ["Backup Job State Change", "Copy Job State Change"],
            "detail": {
                "state": ["ABORTED", "EXPIRED", "FAILED"],
                "$or": [
                    {"backupVaultName": [{"prefix": names.name("")}]},
                    {"sourceBackupVaultArn": [{"prefix": vaults}]},
                ],
            },
        },
    )


def recovery_rules() -> Iterator[EventRule]:
    """Yield the event rule for the replica of the pepper. The documentation does not specify
    which field of the event names the secret, so the rule matches all secrets of the account and
    region."""
    yield EventRule(
        "secret-replication-failed",
        (
            "Secrets Manager could not replicate a secret to the second region. A stack there "
            "cannot verify keys with a new pepper. Check the KMS key of the secret there."
        ),
        "backup-failure",
        secret_pattern("ReplicationFailed"),
    )


def finding_rules() -> Iterator[EventRule]:
    """Yield the event rules for security findings. The rules match findings on all resources of the
    account and region.
    """
    security_hub = {
        # The other rules report the findings of these products.
        "ProductName": [{"anything-but": ["GuardDuty", "IAM Access Analyzer"]}],
        "RecordState": ["ACTIVE"],
        "Severity": {"Label": ["HIGH", "CRITICAL"]},
        # Security Hub sends a finding again after each evaluation, until its workflow status
        # changes.
        "Workflow": {"Status": ["NEW"]},
    }
    yield EventRule(
        "guardduty-finding",
        "GuardDuty reports a finding of medium or higher severity. Open the finding in GuardDuty.",
        "security-findings",
        pattern("guardduty", "GuardDuty Finding", detail={"severity": [{"numeric": [">=", 4]}]}),
    )
    yield EventRule(
        "security-hub-finding",
        "Security Hub reports a new finding of high or critical severity. Open the finding there.",
        "security-findings",
        pattern(
            "securityhub", "Security Hub Findings - Imported", detail={"findings": security_hub}
        ),
    )
    yield EventRule(
        "access-analyzer-finding",
        "IAM Access Analyzer reports a resource that another account or the public can access. "
        "Open the finding there.",
        "security-findings",
        # The status of a deleted finding does not change (IAM User Guide, "Monitoring IAM Access
        # Analyzer with Amazon EventBridge").
        pattern(
            "access-analyzer",
            "Access Analyzer Finding",
            detail={"status": ["ACTIVE"], "isDeleted": [False]},
        ),
    )
