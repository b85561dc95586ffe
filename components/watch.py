"""The alarms, the topic that carries them to people, and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import alarms, dashboard, events, sections
from components.alarm import described, metric_alarm
from components.alarms import Alarm
from components.contract import Door
from components.document import ANYONE, Document, allow, deny, document, render
from components.naming import Naming
from components.props import props
from components.route import Route
from components.tags import tags


@dataclass(frozen=True)
class WatchArgs:
    """What is watched.

    names: the stack's names. watch: bounds, runbooks and who is told. database: size, from which bounds follow.
    key_arn: key of the topic. balancer_label, routes: the load balancer, and the way to each door.
    services: names of the ECS services. cluster, database_id: names. cache_nodes: ids of the cache's nodes.
    certificate_arn: of the doors. tokens: name of the table. rotator, failed: names of the function that rotates secrets, and
    of the queue of its failed calls. functions: doors that functions serve, with the stage of each one's API.
    """

    names: Naming
    watch: sections.Watch
    database: sections.Database
    key_arn: pulumi.Input[str]
    balancer_label: pulumi.Input[str]
    routes: Mapping[str, Route]
    services: Sequence[str]
    cluster: pulumi.Input[str]
    database_id: pulumi.Input[str]
    cache_nodes: tuple[str, ...]
    certificate_arn: pulumi.Input[str]
    tokens: pulumi.Input[str]
    rotator: str
    failed: str
    functions: Mapping[str, str] = field(default_factory=dict)


class Watch(pulumi.ComponentResource):
    """Alarms on errors, latency, health and saturation, one composite alarm a door, events of failed deployments,
    rotations and backups, and one dashboard; all tell one encrypted topic, and the end of an alarm too.

    Why: somebody hears before users call, and finds in the message where to read on; the alarms of a door also roll its
    deployment back. Cost: 0.10 USD a metric and month in an alarm, 0.50 USD a composite one, 3 USD for the dashboard.
    Controls: GH-CW-003, GH-CW-005, GH-SNS-001.
    """

    topic_arn: pulumi.Output[str]
    door_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that tell of a bad deployment, by door."""

    def __init__(self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:watch:Watch", name, props(args), opts)
        self.topic_arn = self._topic(name, args)
        bounds = {"errors_max": args.watch.errors_max, "latency_s_max": args.watch.latency_s_max}
        for alarm in (
            *alarms.of_balancer(args.balancer_label, args.watch.errors_max),
            *(alarm for service in args.services for alarm in alarms.of_service(service, args.cluster, args.names)),
            *alarms.of_database(args.database_id, args.database.storage_gib),
            *(alarm for node in args.cache_nodes for alarm in alarms.of_cache_node(node, args.names)),
            *alarms.of_table(args.tokens),
            *alarms.of_upkeep(args.certificate_arn, args.rotator, args.failed),
        ):
            self._alarm(alarm, args)
        self.door_alarms = {}
        for door, route in args.routes.items():
            made = [self._alarm(alarm, args) for alarm in alarms.of_door(door, args.balancer_label, route.labels, **bounds)]
            self.door_alarms[door] = [alarm.name for alarm in made]
            self._composite(door, made, "tasks of it are unhealthy", "unhealthy", args)
        for door, stage in args.functions.items():
            made = [self._alarm(alarm, args) for alarm in alarms.of_function(door, args.names, stage=stage, **bounds)]
            self._composite(door, made, "calls of its function are refused", "throttles", args)
        for event in events.told(args.names):
            self._event(event, args)
        self._dashboard(name, args)
        self.register_outputs({"topicArn": self.topic_arn, "doorAlarms": self.door_alarms})

    def alarms_of(self, doors: Sequence[Door]) -> list[pulumi.Output[str]]:
        """Names of the alarms that roll back a deployment of what opens these doors."""
        return [alarm for door in doors for alarm in self.door_alarms.get(door.name, [])]

    def _topic(self, name: str, args: WatchArgs) -> pulumi.Output[str]:
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
        for index, address in enumerate(args.watch.emails):
            aws.sns.TopicSubscription(
                f"{name}-{index}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=pulumi.ResourceOptions(parent=self),
            )
        return topic.arn

    def _alarm(self, alarm: Alarm, args: WatchArgs) -> aws.cloudwatch.MetricAlarm:
        return metric_alarm(alarm, args.names, args.watch.runbooks_url, self.topic_arn, self)

    def _composite(
        self, door: str, parts: Sequence[aws.cloudwatch.MetricAlarm], words: str, and_also: str, args: WatchArgs
    ) -> None:
        """One state a door, for people and for the dashboard: users of it are being hurt."""
        slow, strained, failing = (f'ALARM("{args.names.name(f"{door}-{what}")}")' for what in ("latency", and_also, "5xx"))
        aws.cloudwatch.CompositeAlarm(
            door,
            alarm_name=args.names.name(door),
            alarm_description=described(
                f"Users of the {door} door are hurt: it fails, or is slow while {words}.",
                "errors",
                args.watch.runbooks_url,
            ),
            alarm_rule=f"{failing} OR ({slow} AND {strained})",
            actions_enabled=True,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=tags("none"),
            # The rule names the alarms as plain text, so say that they must exist first.
            opts=pulumi.ResourceOptions(parent=self, depends_on=parts),
        )

    def _event(self, event: events.Event, args: WatchArgs) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=args.names.name(event.name),
            description=described(event.words, event.runbook, args.watch.runbooks_url),
            event_pattern=render(event.pattern),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.EventTarget(
            event.name, rule=rule.name, arn=self.topic_arn, target_id="alarms", opts=pulumi.ResourceOptions(parent=self)
        )

    def _dashboard(self, name: str, args: WatchArgs) -> None:
        body = dashboard.body(
            args.names,
            dashboard.Shown(
                balancer=args.balancer_label,
                doors={door: tuple(route.labels) for door, route in args.routes.items()},
                services=tuple(args.services),
                cluster=args.cluster,
                database=args.database_id,
                cache_nodes=args.cache_nodes,
                functions=args.functions,
                tokens=args.tokens,
                rotator=args.rotator,
                failed=args.failed,
                runbooks_url=args.watch.runbooks_url,
                probed=f"Gatehouse/{args.names.environment}" if args.watch.probe_minutes else "",
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
