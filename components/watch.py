"""The first alarms, and the topic that carries them to people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import sections
from components.document import ANYONE, Document, allow, deny, document, render
from components.naming import Naming
from components.props import props
from components.tags import tags

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: a metric, its dimensions, and the bound that it must not cross for `periods` times `period_s` seconds.

    statistic: a CloudWatch statistic, or a percentile such as "p99". words: what is wrong and what to look at first.
    """

    name: str
    words: str
    namespace: str
    metric: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str
    threshold: float
    comparison: str = OVER
    period_s: int = 60
    periods: int = 5


@dataclass(frozen=True)
class WatchArgs:
    """What is watched.

    names: the stack's names. watch: bounds and who is told. database, cache: sizes, from which bounds follow. key_arn:
    key of the topic.
    balancer_label, target_labels: the load balancer, and its target groups by door, as CloudWatch names them.
    services: names of ECS services. cluster, database_id: names. cache_nodes: ids of the cache's nodes.
    """

    names: Naming
    watch: sections.Watch
    database: sections.Database
    key_arn: pulumi.Input[str]
    balancer_label: pulumi.Input[str]
    target_labels: Mapping[str, pulumi.Input[str]]
    services: tuple[str, ...]
    cluster: pulumi.Input[str]
    database_id: pulumi.Input[str]
    cache_nodes: tuple[str, ...]


class Watch(pulumi.ComponentResource):
    """Alarms on errors, latency, health and saturation; each goes to one encrypted topic, and so does its end.

    Why: somebody hears before users call; the alarms of a door also roll its deployment back. Cost: 0.10 USD an alarm
    and month.
    Controls: GH-CW-003, GH-SNS-001.
    """

    topic_arn: pulumi.Output[str]
    door_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that tell of a bad deployment, by door."""

    def __init__(self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:watch:Watch", name, props(args), opts)
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
        self.topic_arn = topic.arn
        for alarm in (*_balancer(args), *_services(args), *_stores(args)):
            self._alarm(alarm, args.names)
        self.door_alarms = {
            door: [self._alarm(alarm, args.names).name for alarm in _door(door, label, args)]
            for door, label in args.target_labels.items()
        }
        self.register_outputs({"topicArn": self.topic_arn, "doorAlarms": self.door_alarms})

    def _alarm(self, alarm: Alarm, names: Naming) -> aws.cloudwatch.MetricAlarm:
        percentile = alarm.statistic.startswith("p")
        return aws.cloudwatch.MetricAlarm(
            alarm.name,
            name=names.name(alarm.name),
            alarm_description=alarm.words,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=dict(alarm.dimensions),
            statistic=None if percentile else alarm.statistic,
            extended_statistic=alarm.statistic if percentile else None,
            period=alarm.period_s,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=alarm.comparison,
            # A door without traffic reports nothing, and that is no fault.
            treat_missing_data="notBreaching",
            actions_enabled=True,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )


def topic_policy(names: Naming) -> Document:
    """Our account's alarms may publish, over TLS alone."""
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
    )


def _balancer(args: WatchArgs) -> Iterator[Alarm]:
    whole: dict[str, pulumi.Input[str]] = {"LoadBalancer": args.balancer_label}
    yield Alarm(
        "edge-5xx",
        "The load balancer itself answers with 5xx: no healthy task, or tasks hang up. See the unhealthy alarms.",
        "AWS/ApplicationELB",
        "HTTPCode_ELB_5XX_Count",
        whole,
        "Sum",
        threshold=args.watch.errors_max,
        period_s=300,
        periods=1,
    )


def _door(door: str, label: pulumi.Input[str], args: WatchArgs) -> Iterator[Alarm]:
    """A door's own health."""
    dimensions: dict[str, pulumi.Input[str]] = {"LoadBalancer": args.balancer_label, "TargetGroup": label}
    service = "AWS/ApplicationELB"
    yield Alarm(
        f"{door}-5xx",
        f"The {door} door answers with 5xx. Look at its log group for level error.",
        service,
        "HTTPCode_Target_5XX_Count",
        dimensions,
        "Sum",
        threshold=args.watch.errors_max,
        period_s=300,
        periods=1,
    )
    yield Alarm(
        f"{door}-latency",
        f"One request in a hundred at the {door} door is slow. Look at CPU of its service, then of the database.",
        service,
        "TargetResponseTime",
        dimensions,
        "p99",
        threshold=args.watch.latency_s_max,
    )
    yield Alarm(
        f"{door}-unhealthy",
        f"A task of the {door} door fails its readiness check. Its /readyz says which store it misses.",
        service,
        "UnHealthyHostCount",
        dimensions,
        "Maximum",
        threshold=0,
    )


def _services(args: WatchArgs) -> Iterator[Alarm]:
    for name in args.services:
        dimensions: dict[str, pulumi.Input[str]] = {"ClusterName": args.cluster, "ServiceName": args.names.name(name)}
        yield Alarm(
            f"{name}-cpu",
            f"The {name} service is out of CPU although it may grow. Raise services.{name}.tasks_max.",
            "AWS/ECS",
            "CPUUtilization",
            dimensions,
            "Average",
            threshold=90,
        )
        yield Alarm(
            f"{name}-memory",
            f"The {name} service is short of memory; tasks will be killed. Raise services.{name}.memory_mib.",
            "AWS/ECS",
            "MemoryUtilization",
            dimensions,
            "Maximum",
            threshold=85,
        )


def _stores(args: WatchArgs) -> Iterator[Alarm]:
    database: dict[str, pulumi.Input[str]] = {"DBInstanceIdentifier": args.database_id}
    yield Alarm(
        "database-cpu",
        "The database is out of CPU. Look at Performance Insights, then raise database.instance_class.",
        "AWS/RDS",
        "CPUUtilization",
        database,
        "Average",
        threshold=85,
    )
    yield Alarm(
        "database-storage",
        "Less than a tenth of the database's storage is free. Raise database.storage_gib_max.",
        "AWS/RDS",
        "FreeStorageSpace",
        database,
        "Minimum",
        threshold=args.database.storage_gib * GIB / 10,
        comparison=UNDER,
    )
    for node in args.cache_nodes:
        own: dict[str, pulumi.Input[str]] = {"CacheClusterId": node}
        yield Alarm(
            f"{node.removeprefix(args.names.name(''))}-cpu",
            "The cache's one working thread is out of CPU; limits will answer late. Raise cache.node_type.",
            "AWS/ElastiCache",
            "EngineCPUUtilization",
            own,
            "Average",
            threshold=80,
        )
        yield Alarm(
            f"{node.removeprefix(args.names.name(''))}-memory",
            "The cache is nearly full and will throw counters out. Raise cache.node_type.",
            "AWS/ElastiCache",
            "DatabaseMemoryUsagePercentage",
            own,
            "Maximum",
            threshold=80,
        )
