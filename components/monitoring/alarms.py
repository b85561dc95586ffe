"""The alarms and event rules of a stack with the topic that they notify, and the dashboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.contract import ContractService
from components.iam.documents import render
from components.iam.key_policies import ALARM_TOPIC
from components.iam.resource_policies import alarm_topic_policy
from components.monitoring import metric_alarms
from components.monitoring.dashboard import MonitoredResources, dashboard_body
from components.monitoring.events import deployment_pattern, rotation_pattern, secret_pattern
from components.monitoring.metric_alarms import Alarm, alarm_description, metric_alarm
from components.monitoring.topics import TopicArgs, email_topic
from components.naming import Naming, tags
from components.settings.data import DatabaseSettings
from components.settings.workloads import SHARING_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class EventRule:
    """An event rule that notifies the alarm topic.

    name: Resource name.
    description: Condition that the rule reports.
    runbook: File name in docs/runbooks, without extension.
    pattern: Event pattern. Source: EventBridge User Guide, "Amazon EventBridge event patterns".
    """

    name: str
    description: str
    runbook: str
    pattern: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmsArgs(TopicArgs):
    """Arguments of `Alarms`.

    monitoring: Thresholds, e-mail addresses and the URL of the runbooks.
    resources: Monitored resources.
    database: Storage of the database, which determines a threshold.
    certificate_arn: Certificate of the load balancer.
    secret_replica: Whether a secret is replicated to another region.
    """

    resources: MonitoredResources
    database: DatabaseSettings
    certificate_arn: pulumi.Input[str]
    secret_replica: bool = False


class Alarms(Component):
    """Alarms on errors, latency, health and saturation, a composite alarm for each service, event
    rules for security findings and for failed deployments, rotations and backups, and a dashboard.
    All alarms and rules notify one encrypted topic.

    Why: Operators are notified before users report a problem, with a link to the runbook. The
    alarms of a service also roll back its deployment.
    Cost: 0.10 USD per alarm metric, 0.50 USD per composite alarm and 3 USD for the dashboard, each
        month.
    Controls: GH-CW-003, GH-CW-005, GH-SNS-001.
    """

    service_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that roll back a deployment, keyed by service."""

    def __init__(
        self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:monitoring:Alarms", name, args, opts)
        names, resources = args.names, args.resources
        rules = [
            *event_rules(names),
            *(recovery_rules() if args.secret_replica else ()),
            *(finding_rules() if args.monitoring.security_findings else ()),
        ]
        self.topic_arn = email_topic(name, ALARM_TOPIC, alarm_topic_policy(names), args, self)
        for alarm in (
            *(
                row
                for name, label in resources.load_balancers.items()
                for row in metric_alarms.load_balancer_alarms(
                    name, label, args.monitoring.error_alarm_threshold
                )
            ),
            *(
                row
                for ecs in resources.ecs_services
                for row in metric_alarms.ecs_service_alarms(ecs, resources.cluster, names)
            ),
            *metric_alarms.database_alarms(
                resources.database, args.database.instance_class, args.database.storage_gib
            ),
            *(
                metric_alarms.nat_gateway_alarm(zone, nat)
                for zone, nat in resources.nat_gateways.items()
            ),
            *(
                [metric_alarms.replication_alarm(*resources.replication)]
                if resources.replication
                else ()
            ),
            *(
                row
                for node in resources.cache_nodes
                for row in metric_alarms.cache_node_alarms(node, names)
            ),
            *metric_alarms.table_alarms(resources.table),
            *(metric_alarms.event_rule_alarm(rule.name, names) for rule in rules),
            *metric_alarms.maintenance_alarms(
                args.certificate_arn, resources.rotation_function, resources.dead_letter_queue
            ),
        ):
            self._alarm(alarm, args)
        self._service_alarms(args)
        for rule in rules:
            self._event_rule(rule, args)
        probe = bool(args.monitoring.probe_interval_minutes)
        body = pulumi.Output.json_dumps(
            dashboard_body(names, resources, args.monitoring.runbooks_url, probe=probe)
        )
        aws.cloudwatch.Dashboard(
            name, dashboard_name=names.name("overview"), dashboard_body=body, opts=self.child
        )
        self.register_outputs({"topicArn": self.topic_arn, "serviceAlarms": self.service_alarms})

    def rollback_alarms(self, services: Sequence[ContractService]) -> list[pulumi.Output[str]]:
        """Return the names of the alarms that roll back a deployment of these services."""
        return [
            alarm for service in services for alarm in self.service_alarms.get(service.name, [])
        ]

    def _service_alarms(self, args: AlarmsArgs) -> None:
        thresholds = {
            "errors_max": args.monitoring.error_alarm_threshold,
            "latency_s_max": args.monitoring.latency_alarm_threshold_s,
        }
        self.service_alarms = {}
        for service, groups in args.resources.target_groups.items():
            definitions = metric_alarms.target_group_alarms(service, groups, **thresholds)
            alarms = [self._alarm(alarm, args) for alarm in definitions]
            self.service_alarms[service] = [alarm.name for alarm in alarms]
            self._composite(service, alarms, "targets are unhealthy", "unhealthy", args)
        for service, stage in args.resources.functions.items():
            definitions = metric_alarms.function_alarms(
                service, args.names, stage=stage, timeout_s=SHARING_TIMEOUT_S, **thresholds
            )
            alarms = [self._alarm(alarm, args) for alarm in definitions]
            self.service_alarms[service] = [alarm.name for alarm in alarms]
            self._composite(service, alarms, "its function is throttled", "throttles", args)

    def _alarm(self, alarm: Alarm, args: AlarmsArgs) -> aws.cloudwatch.MetricAlarm:
        return metric_alarm(alarm, args.names, args.monitoring.runbooks_url, self.topic_arn, self)

    def _composite(
        self,
        service: str,
        alarms: Sequence[aws.cloudwatch.MetricAlarm],
        condition: str,
        saturation: str,
        args: AlarmsArgs,
    ) -> None:
        """Create the composite alarm that is in state ALARM while users of the service are
        affected.
        """
        latency, saturated, errors = (
            f'ALARM("{args.names.name(f"{service}-{suffix}")}")'
            for suffix in ("latency", saturation, "5xx")
        )
        description = (
            f"Users of the {service} service are affected: the service returns "
            f"errors, or is slow while {condition}."
        )
        aws.cloudwatch.CompositeAlarm(
            service,
            alarm_name=args.names.name(service),
            alarm_description=alarm_description(
                description, "errors", args.monitoring.runbooks_url
            ),
            alarm_rule=f"{errors} OR ({latency} AND {saturated})",
            actions_enabled=True,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=tags("none"),
            # The rule references the alarms by name, so Pulumi does not detect the dependency.
            opts=self.after(*alarms),
        )

    def _event_rule(self, event: EventRule, args: AlarmsArgs) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=args.names.name(event.name),
            description=alarm_description(
                event.description, event.runbook, args.monitoring.runbooks_url
            ),
            event_pattern=render(event.pattern),
            tags=tags("none"),
            opts=self.child,
        )
        aws.cloudwatch.EventTarget(
            event.name, rule=rule.name, arn=self.topic_arn, target_id="alarms", opts=self.child
        )


def event_rules(names: Naming) -> Iterator[EventRule]:
    """Yield the event rules. Each rule matches only resources of this stack."""
    yield EventRule(
        "deployment-failed",
        "A deployment failed and ECS rolls it back.",
        "errors",
        deployment_pattern(names, "SERVICE_DEPLOYMENT_FAILED"),
    )
    yield EventRule(
        "rotation-failed",
        "Secrets Manager could not rotate a secret. The previous value remains in use.",
        "rotation-failure",
        rotation_pattern(names, "RotationFailed"),
    )
    yield EventRule(
        "backup-failed",
        (
            "A backup job failed, expired or was aborted. The latest recovery point is from an "
            "earlier job."
        ),
        "backup-failure",
        {
            "source": ["aws.backup"],
            "detail-type": ["Backup Job State Change"],
            "detail": {
                "state": ["ABORTED", "EXPIRED", "FAILED"],
                "backupVaultName": [{"prefix": names.name("")}],
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
            "cannot verify keys with a new pepper."
        ),
        "backup-failure",
        secret_pattern("ReplicationFailed"),
    )


def finding_rules() -> Iterator[EventRule]:
    """Yield the event rules for security findings. The rules match findings on all resources of the
    account and region.
    """
    yield EventRule(
        "guardduty-finding",
        "GuardDuty reports a finding of medium or higher severity.",
        "security-findings",
        {
            "source": ["aws.guardduty"],
            "detail-type": ["GuardDuty Finding"],
            "detail": {"severity": [{"numeric": [">=", 4]}]},
        },
    )
    yield EventRule(
        "security-hub-finding",
        "Security Hub reports a new finding of high or critical severity.",
        "security-findings",
        {
            "source": ["aws.securityhub"],
            "detail-type": ["Security Hub Findings - Imported"],
            "detail": {
                "findings": {
                    # The other rules report the findings of these products.
                    "ProductName": [{"anything-but": ["GuardDuty", "IAM Access Analyzer"]}],
                    "RecordState": ["ACTIVE"],
                    "Severity": {"Label": ["HIGH", "CRITICAL"]},
                    # Security Hub sends a finding again after each evaluation, until its workflow
                    # status changes.
                    "Workflow": {"Status": ["NEW"]},
                }
            },
        },
    )
    yield EventRule(
        "access-analyzer-finding",
        "IAM Access Analyzer reports a resource that another account or the public can access.",
        "security-findings",
        {
            "source": ["aws.access-analyzer"],
            "detail-type": ["Access Analyzer Finding"],
            # The status of a deleted finding does not change (IAM User Guide, "Monitoring IAM
            # Access Analyzer with Amazon EventBridge").
            "detail": {"status": ["ACTIVE"], "isDeleted": [False]},
        },
    )
