"""The alarms, the topic that carries them to people, and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.contract import ContractService
from components.edge.target_groups import TargetGroups
from components.iam.documents import ANYONE, Document, allow, deny, document, render
from components.monitoring import dashboard, event_alarms, metric_alarms
from components.monitoring.alarm_resource import alarm_description, metric_alarm
from components.monitoring.metric_alarms import Alarm
from components.naming import Naming
from components.settings.data import DatabaseSettings
from components.settings.operations import MonitoringSettings
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What is watched.

    names: the stack's names. watch: bounds, runbooks and who is told. database: size, from which bounds follow.
    key_arn: key of the topic. balancer_label, routes: the load balancer, and the way to each service.
    ecs_services: names of the ECS services. cluster, database_id: names. cache_nodes: ids of the cache's nodes.
    certificate_arn: of the services. tokens: name of the table. rotator, failed: names of the function that rotates secrets, and
    of the queue of its failed calls. functions: services that functions serve, with the stage of each one's API.
    """

    names: Naming
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


class Alarms(pulumi.ComponentResource):
    """Alarms on errors, latency, health and saturation, one composite alarm a service, events of failed deployments,
    rotations and backups, and one dashboard; all tell one encrypted topic, and the end of an alarm too.

    Why: somebody hears before users call, and finds in the message where to read on; the alarms of a service also roll its
    deployment back. Cost: 0.10 USD a metric and month in an alarm, 0.50 USD a composite one, 3 USD for the dashboard.
    Controls: GH-CW-003, GH-CW-005, GH-SNS-001.
    """

    topic_arn: pulumi.Output[str]
    service_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that tell of a bad deployment, by service."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:Alarms", name, component_inputs(args), opts)
        self.topic_arn = self._topic(name, args)
        bounds = {"errors_max": args.monitoring.error_alarm_threshold, "latency_s_max": args.monitoring.latency_alarm_threshold_s}
        for alarm in (
            *metric_alarms.of_balancer(args.load_balancer_label, args.monitoring.error_alarm_threshold),
            *(alarm for service in args.ecs_services for alarm in metric_alarms.of_service(service, args.cluster, args.names)),
            *metric_alarms.of_database(args.database_id, args.database.storage_gib),
            *(alarm for node in args.cache_nodes for alarm in metric_alarms.of_cache_node(node, args.names)),
            *metric_alarms.of_table(args.table),
            *metric_alarms.of_upkeep(args.certificate_arn, args.rotation_function, args.dead_letter_queue),
        ):
            self._alarm(alarm, args)
        self.service_alarms = {}
        for service, route in args.target_groups.items():
            made = [
                self._alarm(alarm, args)
                for alarm in metric_alarms.of_load_balanced_service(service, args.load_balancer_label, route.labels, **bounds)
            ]
            self.service_alarms[service] = [alarm.name for alarm in made]
            self._composite(service, made, "tasks of it are unhealthy", "unhealthy", args)
        for service, stage in args.functions.items():
            made = [self._alarm(alarm, args) for alarm in metric_alarms.of_function(service, args.names, stage=stage, **bounds)]
            self._composite(service, made, "calls of its function are refused", "throttles", args)
        for event in event_alarms.told(args.names):
            self._event(event, args)
        self._dashboard(name, args)
        self.register_outputs({"topicArn": self.topic_arn, "serviceAlarms": self.service_alarms})

    def rollback_alarms(self, services: Sequence[ContractService]) -> list[pulumi.Output[str]]:
        """Names of the alarms that roll back a deployment of what opens these services."""
        return [alarm for service in services for alarm in self.service_alarms.get(service.name, [])]

    def _topic(self, name: str, args: AlarmsArgs) -> pulumi.Output[str]:
        topic = aws.sns.Topic(
            name,
            name=args.names.name("alarms"),
            kms_master_key_id=args.key_arn,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.sns.TopicPolicy(
            name, arn=topic.arn, policy=render(topic_policy(args.names)), opts=pulumi.ResourceOptions(parent=self)
        )
        for index, address in enumerate(args.monitoring.emails):
            aws.sns.TopicSubscription(
                f"{name}-{index}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=pulumi.ResourceOptions(parent=self),
            )
        return topic.arn

    def _alarm(self, alarm: Alarm, args: AlarmsArgs) -> aws.cloudwatch.MetricAlarm:
        return metric_alarm(alarm, args.names, args.monitoring.runbooks_url, self.topic_arn, self)

    def _composite(
        self, service: str, parts: Sequence[aws.cloudwatch.MetricAlarm], words: str, and_also: str, args: AlarmsArgs
    ) -> None:
        """One state a service, for people and for the dashboard: users of it are being hurt."""
        slow, strained, failing = (f'ALARM("{args.names.name(f"{service}-{what}")}")' for what in ("latency", and_also, "5xx"))
        aws.cloudwatch.CompositeAlarm(
            service,
            alarm_name=args.names.name(service),
            alarm_description=alarm_description(
                f"Users of the {service} service are hurt: it fails, or is slow while {words}.",
                "errors",
                args.monitoring.runbooks_url,
            ),
            alarm_rule=f"{failing} OR ({slow} AND {strained})",
            actions_enabled=True,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=tags("none"),
            # The rule names the alarms as plain text, so say that they must exist first.
            opts=pulumi.ResourceOptions(parent=self, depends_on=parts),
        )

    def _event(self, event: event_alarms.Event, args: AlarmsArgs) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=args.names.name(event.name),
            description=alarm_description(event.words, event.runbook, args.monitoring.runbooks_url),
            event_pattern=render(event.pattern),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.EventTarget(
            event.name, rule=rule.name, arn=self.topic_arn, target_id="alarms", opts=pulumi.ResourceOptions(parent=self)
        )

    def _dashboard(self, name: str, args: AlarmsArgs) -> None:
        body = dashboard.body(
            args.names,
            dashboard.Shown(
                balancer=args.load_balancer_label,
                target_groups={service: tuple(route.labels) for service, route in args.target_groups.items()},
                services=tuple(args.ecs_services),
                cluster=args.cluster,
                database=args.database_id,
                cache_nodes=args.cache_nodes,
                functions=args.functions,
                tokens=args.table,
                rotator=args.rotation_function,
                failed=args.dead_letter_queue,
                runbooks_url=args.monitoring.runbooks_url,
                probed=f"Gatehouse/{args.names.environment}" if args.monitoring.probe_interval_minutes else "",
            ),
        )
        aws.cloudwatch.Dashboard(
            name,
            dashboard_name=args.names.name("overview"),
            dashboard_body=pulumi.Output.json_dumps(body),
            opts=pulumi.ResourceOptions(parent=self),
        )


def topic_policy(names: Naming) -> Document:
    """Our account's alarms and event rules may publish, over TLS alone."""
    arn = names.arn("sns", names.name("alarms"))
    return document(
        deny("OnlyTls", ["sns:Publish"], [arn], conditions={"Bool": {"aws:SecureTransport": "false"}}),
        allow(
            "AlarmsPublish",
            ["sns:Publish"],
            [arn],
            principal={"Service": "cloudwatch.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("cloudwatch", f"alarm:{names.name(ANYONE)}")},
            },
        ),
        allow(
            "EventsPublish",
            ["sns:Publish"],
            [arn],
            principal={"Service": "events.amazonaws.com"},
            conditions={"ArnLike": {"aws:SourceArn": names.arn("events", f"rule/{names.name(ANYONE)}")}},
        ),
    )
