"""The alarms of a stack, their topic and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.contract import ContractService
from components.edge.target_groups import TargetGroups
from components.iam.documents import render
from components.iam.resource_policies import ALARM_TOPIC, alarm_topic_policy
from components.monitoring import dashboard, metric_alarms
from components.monitoring.event_alarms import EventRule, event_rules
from components.monitoring.metric_alarms import Alarm, alarm_description, metric_alarm
from components.monitoring.topics import email_topic
from components.settings.data import DatabaseSettings
from components.settings.operations import MonitoringSettings
from components.tags import tags


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmsArgs(StackArgs):
    """Arguments of `Alarms`.

    monitoring: Thresholds, e-mail addresses and URL of the runbooks.
    database: Storage size, from which a threshold follows.
    key_arn: KMS key of the topic.
    load_balancer_label: CloudWatch dimension of the load balancer.
    target_groups: Target groups by service.
    ecs_services: Names of the ECS services.
    cluster: Name of the ECS cluster.
    database_id: Identifier of the DB instance.
    cache_nodes: Ids of the cache nodes.
    certificate_arn: Certificate of the load balancer.
    table: Name of the secret links table.
    rotation_function: Name of the rotation function.
    dead_letter_queue: Name of the rotation function's dead-letter queue.
    functions: REST API stages of services that run as Lambda functions, by service.
    """

    monitoring: MonitoringSettings
    database: DatabaseSettings
    key_arn: pulumi.Input[str]
    load_balancer_label: pulumi.Input[str]
    target_groups: Mapping[str, TargetGroups]
    ecs_services: Sequence[str]
    cluster: pulumi.Input[str]
    database_id: pulumi.Input[str]
    cache_nodes: tuple[str, ...]
    certificate_arn: pulumi.Input[str]
    table: pulumi.Input[str]
    rotation_function: str
    dead_letter_queue: str
    functions: Mapping[str, str] = field(default_factory=dict)


class Alarms(Component):
    """Alarms on errors, latency, health and saturation, a composite alarm for each service, event rules for failed
    deployments, rotations and backups, and a dashboard. All notify one encrypted topic.

    Why: Operators are notified before users report a problem, with a link to the runbook. The alarms of a service also
    roll back its deployment.
    Cost: 0.10 USD per alarm metric, 0.50 USD per composite alarm and 3 USD for the dashboard, each month.
    Controls: GH-CW-003, GH-CW-005, GH-SNS-001.
    """

    topic_arn: pulumi.Output[str]
    service_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that roll back a deployment, by service."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:Alarms", name, args, opts)
        names, policy = args.names, alarm_topic_policy(args.names)
        self.topic_arn = email_topic(name, names.name(ALARM_TOPIC), policy, args.monitoring.emails, args.key_arn, self)
        for alarm in (
            *metric_alarms.load_balancer_alarms(args.load_balancer_label, args.monitoring.error_alarm_threshold),
            *(alarm for ecs in args.ecs_services for alarm in metric_alarms.ecs_service_alarms(ecs, args.cluster, names)),
            *metric_alarms.database_alarms(args.database_id, args.database.storage_gib),
            *(alarm for node in args.cache_nodes for alarm in metric_alarms.cache_node_alarms(node, names)),
            *metric_alarms.table_alarms(args.table),
            *metric_alarms.maintenance_alarms(args.certificate_arn, args.rotation_function, args.dead_letter_queue),
        ):
            self._alarm(alarm, args)
        self._service_alarms(args)
        for rule in event_rules(names):
            self._event_rule(rule, args)
        self._dashboard(name, args)
        self.register_outputs({"topicArn": self.topic_arn, "serviceAlarms": self.service_alarms})

    def rollback_alarms(self, services: Sequence[ContractService]) -> list[pulumi.Output[str]]:
        """Return the names of the alarms that roll back a deployment of these services."""
        return [alarm for service in services for alarm in self.service_alarms.get(service.name, [])]

    def _service_alarms(self, args: AlarmsArgs) -> None:
        thresholds = {
            "errors_max": args.monitoring.error_alarm_threshold,
            "latency_s_max": args.monitoring.latency_alarm_threshold_s,
        }
        self.service_alarms = {}
        for service, groups in args.target_groups.items():
            definitions = metric_alarms.target_group_alarms(service, args.load_balancer_label, groups.labels, **thresholds)
            alarms = [self._alarm(alarm, args) for alarm in definitions]
            self.service_alarms[service] = [alarm.name for alarm in alarms]
            self._composite(service, alarms, "targets are unhealthy", "unhealthy", args)
        for service, stage in args.functions.items():
            definitions = metric_alarms.function_alarms(service, args.names, stage=stage, **thresholds)
            alarms = [self._alarm(alarm, args) for alarm in definitions]
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
        """Create the alarm that is in state ALARM while users of the service are affected."""
        latency, saturated, errors = (
            f'ALARM("{args.names.name(f"{service}-{suffix}")}")' for suffix in ("latency", saturation, "5xx")
        )
        description = f"Users of the {service} service are affected: it returns errors, or is slow while {condition}."
        aws.cloudwatch.CompositeAlarm(
            service,
            alarm_name=args.names.name(service),
            alarm_description=alarm_description(description, "errors", args.monitoring.runbooks_url),
            alarm_rule=f"{errors} OR ({latency} AND {saturated})",
            actions_enabled=True,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=tags("none"),
            # The rule references the alarms by name, without an output.
            opts=self.after(*alarms),
        )

    def _event_rule(self, event: EventRule, args: AlarmsArgs) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=args.names.name(event.name),
            description=alarm_description(event.description, event.runbook, args.monitoring.runbooks_url),
            event_pattern=render(event.pattern),
            tags=tags("none"),
            opts=self.child,
        )
        aws.cloudwatch.EventTarget(event.name, rule=rule.name, arn=self.topic_arn, target_id="alarms", opts=self.child)

    def _dashboard(self, name: str, args: AlarmsArgs) -> None:
        sources = dashboard.DashboardSources(
            load_balancer=args.load_balancer_label,
            target_groups={service: tuple(groups.labels) for service, groups in args.target_groups.items()},
            ecs_services=tuple(args.ecs_services),
            cluster=args.cluster,
            database=args.database_id,
            cache_nodes=args.cache_nodes,
            functions=args.functions,
            table=args.table,
            rotation_function=args.rotation_function,
            dead_letter_queue=args.dead_letter_queue,
            runbooks_url=args.monitoring.runbooks_url,
            probe_namespace=args.names.namespace if args.monitoring.probe_interval_minutes else "",
        )
        aws.cloudwatch.Dashboard(
            name,
            dashboard_name=args.names.name("overview"),
            dashboard_body=pulumi.Output.json_dumps(dashboard.dashboard_body(args.names, sources)),
            opts=self.child,
        )
