"""Defines the metric alarms of a stack and creates a CloudWatch alarm from each definition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import TargetGroupDimensions
from components.context import Stack
from components.iam.role_policies import ROTATION_FUNCTION
from components.naming import REPLICATION_RULE, Naming, tags

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
CERTIFICATE_DAYS = 30
"""ACM renews certificates 60 days before they expire."""
BUFFERED_BYTES = 1 << 20
"""Reports about ended requests that may wait in Envoy, about 2,000."""
DELAY_S = 300
"""Time for which work of the console may be overdue before the alarm is raised."""

DATABASE_AWAY_S, DATABASE_PRESENT_S = 30, 5
"""Time without the database after which its alarm is raised, and after which the alarms on the
consequences are not. A gateway reads the database every second.
"""

ONCE, MINUTES = (300, 1, 1), (60, 3, 5)
"""Evaluation of an alarm: length of a period in seconds, number of periods that breach the
threshold, and number of periods that are evaluated. The latest minute of a metric can be missing
when CloudWatch evaluates it, so an alarm on minutes never requires all of them.
"""

BUDGETS = {
    "errors": ("FailedRequests", 0.1, "returns errors"),
    "latency": ("SlowRequests", 1.0, "is slow: responses take more than a second"),
}
"""Objectives of a service: metric of the requests that do not meet the objective, their permitted
percentage, and the symptom. The metrics exclude the errors and the time of Cores
(`gatehouse.platform.observability`).
"""
BURN_RATES = {"5m": (300, 14.4), "1h": (3600, 6.0)}
"""Windows in seconds and the multiple of the permitted percentage in a window that raises the
alarm. A short window detects an outage, and a long window detects a small but permanent increase.
Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
"""

CORE_ERRORS_PERCENT = 5
"""Percentage points by which more requests to Cores can fail in new tasks than in the others."""

Text = pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class MonitoredResources:
    """Resources that have alarms and widgets, and whose names AWS generates.

    load_balancers: CloudWatch dimension of each load balancer, keyed by resource name.
    target_groups: CloudWatch dimensions of both target groups of a service, keyed by service.
    nat_gateways: IDs of the NAT gateways, keyed by zone.
    """

    load_balancers: Mapping[str, Text]
    target_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    cluster: Text
    database: Text
    table: Text
    nat_gateways: Mapping[str, Text]
    certificate_arn: Text


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric with one of its sets of dimensions and a CloudWatch statistic."""

    namespace: str
    name: str
    dimensions: Mapping[str, Text]
    statistic: str = "Sum"
    unit: str | None = None


@dataclass(frozen=True)
class Expression:
    """A metric math expression.

    text: Expression. Source: CloudWatch User Guide, "Using math expressions with CloudWatch
        metrics".
    metrics: Metrics of the expression, keyed by their IDs in it.
    """

    text: str
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Alarm:
    """An alarm on a metric.

    runbook: File name in docs/runbooks, without extension.
    threshold: Value that the metric crosses in the periods of `evaluation` before the alarm is
        raised.
    missing: Treatment of missing data: "notBreaching" for metrics that require traffic, "breaching"
        for metrics with a fixed interval.
    """

    name: str
    description: str
    runbook: str
    metric: Metric | Expression
    threshold: float = 0
    comparison: str = OVER
    evaluation: tuple[int, int, int] = ONCE
    missing: str = "notBreaching"


def resource_alarms(stack: Stack, resources: MonitoredResources) -> Iterator[Alarm]:
    """Yield the alarms on resources, except those that roll back a deployment
    (`service_alarms`).
    """
    settings, names = stack.settings, stack.names
    functions = [function.service.name for function in stack.contract.functions.values()]
    for service in (*resources.target_groups, *functions):
        yield from _burn_rates(service, stack, "1h")
    yield from _published(stack)
    for name, label in resources.load_balancers.items():
        balancer = {"LoadBalancer": label}
        yield Alarm(
            f"{name}-5xx",
            "The load balancer returns 5xx errors: no target is healthy, or targets close "
            "connections. Check the unhealthy alarms.",
            "errors",
            Metric(LOAD_BALANCER, "HTTPCode_ELB_5XX_Count", balancer),
            settings.monitoring.error_alarm_threshold,
        )
        yield Alarm(
            f"{name}-rejected-connections",
            "The load balancer rejected connections, because it reached its maximum number of "
            "connections. Check the number of connections per client, then request capacity from "
            "AWS Support.",
            "saturation",
            Metric(LOAD_BALANCER, "RejectedConnectionCount", balancer),
        )
    web_acl = {"WebACL": names.name("edge"), "Region": names.region, "Rule": "ALL"}
    yield Alarm(
        "requests-blocked",
        "The web ACL blocks an unusual number of requests. Possible causes: an attack, or a rule "
        "that blocks requests of your clients.",
        "blocked-requests",
        Metric("AWS/WAFV2", "BlockedRequests", web_acl),
        settings.monitoring.denied_requests_alarm_threshold,
    )
    for service in stack.contract.ecs_services:
        yield from _ecs_service(service, resources.cluster, names)
    yield from database_alarms(
        resources.database, settings.database.instance_class, settings.database.storage_gib
    )
    for zone, nat_gateway in resources.nat_gateways.items():
        yield Alarm(
            f"nat-{zone}-ports",
            "The NAT gateway could not allocate a source port, so connections to Cores, webhooks "
            "and AWS services fail. Check for many connections to one destination.",
            "saturation",
            Metric("AWS/NATGateway", "ErrorPortAllocation", {"NatGatewayId": nat_gateway}),
        )
    if region := settings.replication_region:
        # S3 publishes the metric in the region of the source bucket (S3 User Guide, "Using S3
        # Replication metrics").
        buckets = {
            "SourceBucket": names.bucket("data"),
            "DestinationBucket": names.in_region(region).bucket("data"),
            "RuleId": REPLICATION_RULE,
        }
        yield Alarm(
            "replication-failed",
            "S3 could not replicate an object of the data bucket to the second region. Check the "
            "role, the KMS key and the versioning of the replica.",
            "backup-failure",
            Metric("AWS/S3", "OperationsFailedReplication", buckets),
        )
    for node in names.cache_nodes(1 + settings.cache.replicas):
        yield from _cache_node(node, names)
    yield _table(resources.table, names)
    yield from _maintenance(resources.certificate_arn, names)


def service_alarms(stack: Stack, resources: MonitoredResources) -> dict[str, list[Alarm]]:
    """Return the alarms that roll back a deployment, keyed by service: errors, latency and
    saturation, in this order, and for the gateway the errors of Cores.
    """
    return {
        service: [
            *_burn_rates(service, stack, "5m"),
            _unhealthy(service, *groups),
            *([_core_errors(stack)] if service == "gateway" else ()),
        ]
        for service, groups in resources.target_groups.items()
    } | {
        function.service.name: [
            *_burn_rates(function.service.name, stack, "5m"),
            *_function(function.service.name, stack.names),
        ]
        for function in stack.contract.functions.values()
    }


def _burn_rates(service: str, stack: Stack, window: str) -> Iterator[Alarm]:
    """Yield an alarm for each objective of a service. Without a minimum number of requests, a
    single failed request would raise an alarm at night.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold
    period_s, rate = BURN_RATES[window]
    for objective, (name, percent, symptom) in BUDGETS.items():
        share = Expression(
            f"IF(failed > {requests_min} AND {DATABASE_PRESENT}, 100 * failed / requests, 0)",
            {
                "failed": service_metric(service, name, stack.names),
                "requests": service_metric(service, "Requests", stack.names),
                "database": database_age(stack.names),
            },
        )
        yield Alarm(
            f"{service}-{objective}-{window}",
            f"The {service} service {symptom}. More than {round(rate * percent, 2)} percent of its "
            f"requests within {window} are affected; failed and slow Cores are not counted.",
            objective,
            share,
            round(rate * percent, 2),
            evaluation=(period_s, 1, 1),
        )


def _core_errors(stack: Stack) -> Alarm:
    """Return the alarm on a rise of the errors of Cores during a deployment.

    It compares the new tasks with the others at the same time, because a failing Core affects both.
    Without results of other tasks there is no data. An alarm cannot compare with an earlier time:
    CloudWatch does not document how many data points a function such as AVG receives (User Guide,
    "Alarm evaluation"). A threshold on the errors of all tasks would be in ALARM while a Core
    fails, and ECS would ignore all alarms of a deployment that starts then.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold

    def metric(name: str, tasks: str) -> Metric:
        return Metric(stack.names.namespace, name, {"Service": "gateway", "Tasks": tasks})

    rise = Expression(
        f"IF(errors > {requests_min}, 100 * errors / results - 100 * usual / others, 0)",
        {
            "errors": metric("CoreErrors", "new"),
            "results": metric("CoreResults", "new"),
            "usual": metric("CoreErrors", "other"),
            "others": metric("CoreResults", "other"),
        },
    )
    return Alarm(
        "core-errors",
        f"Requests to Cores fail more often in tasks of the gateway that were started in the last "
        f"half hour than in the others: the difference is above {CORE_ERRORS_PERCENT} percent of "
        "the requests. A release probably breaks requests to Cores.",
        "canary-key",
        rise,
        CORE_ERRORS_PERCENT,
    )


DATABASE_PRESENT = f"FILL(database, 0) < {DATABASE_PRESENT_S}"
"""Condition of an expression with the metric `database`, for alarms on consequences of an outage of
the database, which has an alarm of its own."""


def database_age(names: Naming) -> Metric:
    return service_metric("gateway", "DatabaseAgeSeconds", names, "Maximum")


def service_metric(service: str, name: str, names: Naming, statistic: str = "Sum") -> Metric:
    return Metric(names.namespace, name, {"Service": service}, statistic)


def _unhealthy(service: str, blue: TargetGroupDimensions, green: TargetGroupDimensions) -> Alarm:
    """Return the alarm on the targets of a service. One of its target groups usually has no
    targets, and then no data.
    """
    groups = {"blue": blue, "green": green}
    return Alarm(
        f"{service}-unhealthy",
        f"A task of the {service} service does not respond to its health check, and ECS replaces "
        "it. Check the log group of the service.",
        "errors",
        Expression(
            "MAX([FILL(blue, 0), FILL(green, 0)])",
            {
                color: Metric(LOAD_BALANCER, "UnHealthyHostCount", group, "Maximum")
                for color, group in groups.items()
            },
        ),
        evaluation=MINUTES,
    )


def _function(service: str, names: Naming) -> Iterator[Alarm]:
    """Yield alarms for the function of a service. The function is named after the service."""
    function = {"FunctionName": names.name(service)}
    yield Alarm(
        f"{service}-throttles",
        f"The {service} function reached its reserved concurrency. Check for a flood of requests.",
        "saturation",
        Metric(LAMBDA, "Throttles", function),
        evaluation=MINUTES,
    )
    yield Alarm(
        f"{service}-function-errors",
        f"The function of the {service} service fails to start or times out. Check the log "
        "group of the function.",
        "errors",
        Metric(LAMBDA, "Errors", function),
    )


def _published(stack: Stack) -> Iterator[Alarm]:
    """Yield alarms on the values that the gateway and the console publish. A missing value means
    that no task of the service runs.
    """
    for name, service, metric, threshold, runbook, missing, description in (
        (
            *("key-state-stale", "gateway", "StalenessSeconds", 3, "rejected-keys", "breaching"),
            "Gateways verify keys against a state that is older than the propagation bound, and "
            "deny every key, or no gateway reports the age of its state.",
        ),
        (
            *("checkpoints-late", "console", "CheckpointDelaySeconds", DELAY_S, "audit-chain"),
            "notBreaching",
            "A checkpoint of the audit chain has been due for more than five minutes. Check the "
            "log group of the console for failed background jobs.",
        ),
        (
            *("completions-buffered", "gateway", "CompletionsBufferedBytes", BUFFERED_BYTES),
            *("saturation", "notBreaching"),
            "Reports about ended requests wait in Envoy, because the workers of a gateway read "
            "them too slowly: usage and logs are late. Raise the CPU of the gateway.",
        ),
        (
            *("secrets-late", "console", "DueSecretsSeconds", DELAY_S, "tokens", "breaching"),
            "The console did not delete a used or expired secret, or did not record the events of "
            "a secret, within five minutes, or no console reports a measurement.",
        ),
    ):
        source = service_metric(service, metric, stack.names, "Maximum")
        yield Alarm(
            name, description, runbook, source, threshold, evaluation=MINUTES, missing=missing
        )
    yield Alarm(
        "database-unavailable",
        "Gateways cannot read the database. They use the key state that they have, and announced "
        "revocations; the console is not available. Check the RDS events.",
        "database",
        database_age(stack.names),
        DATABASE_AWAY_S,
        evaluation=(60, 1, 2),
    )
    yield Alarm(
        "completions-lost",
        "Reports about ended requests were lost: the requests are missing in usage and logs. Check "
        "the log group of the gateway for restarted workers.",
        "saturation",
        service_metric("gateway", "CompletionsLost", stack.names),
    )


def _ecs_service(name: str, cluster: Text, names: Naming) -> Iterator[Alarm]:
    dimensions = {"ClusterName": cluster, "ServiceName": names.name(name)}
    for kind, statistic, threshold, setting in (
        ("CPU", "Average", 90, "tasks_max"),
        ("Memory", "Maximum", 85, "memory_mib"),
    ):
        yield Alarm(
            f"{name}-{kind.lower()}",
            f"{kind} utilization of the ECS service {name} is high. Raise its {setting}.",
            "saturation",
            Metric("AWS/ECS", f"{kind}Utilization", dimensions, statistic),
            threshold,
            evaluation=MINUTES,
        )
    # Container Insights publishes both counts every minute. A deployment starts new tasks before it
    # stops others, and auto scaling needs a few minutes to start tasks. Source: CloudWatch User
    # Guide, "Amazon ECS Container Insights metrics".
    counts = {
        kind: Metric("ECS/ContainerInsights", f"{kind.title()}TaskCount", dimensions, "Average")
        for kind in ("desired", "running")
    }
    yield Alarm(
        f"{name}-tasks",
        f"The ECS service {name} has run fewer tasks than it should for ten minutes. Check the "
        "events of the service.",
        "errors",
        Expression("desired - running", counts),
        evaluation=(60, 8, 10),
    )


def memory_gib(instance_class: str) -> int:
    """Return the memory of an RDS instance class: t4g and m classes have 4 GiB for each vCPU of a
    size, r and x2g classes more.

    Source: RDS User Guide, "Hardware specifications for DB instance classes". A class with more
        memory raises alarms earlier.
    """
    _, family, size = instance_class.split(".")
    multiple = size.removesuffix("xlarge")
    sizes = {"micro": 1, "small": 2, "medium": 4, "large": 8}
    memory = sizes[size] if size in sizes else 16 * int(multiple or 1)
    return memory * 2 if family.startswith("r") else memory


def database_alarms(identifier: Text, instance_class: str, storage_gib: int) -> Iterator[Alarm]:
    """Yield alarms on CPU, connections, memory and storage of the DB instance."""
    memory_bytes = memory_gib(instance_class) * GIB
    # The default of max_connections (RDS User Guide, "Maximum number of database connections").
    connections_max = min(memory_bytes // 9_531_392, 5_000)

    larger = "database.instance_class, with database.apply_immediately."
    for name, text, metric, statistic, threshold, comparison in (
        (
            "cpu",
            f"CPU utilization of the database is high. Check Performance Insights, then raise "
            f"{larger}",
            *("CPUUtilization", "Average", 85, OVER),
        ),
        (
            "connections",
            "The database has more than 80 percent of its maximum number of connections. Raise "
            f"{larger}",
            *("DatabaseConnections", "Maximum", connections_max * 80 // 100, OVER),
        ),
        (
            "memory",
            f"The database has less than 5 percent of its memory available. Raise {larger}",
            *("FreeableMemory", "Minimum", memory_bytes // 20, UNDER),
        ),
        (
            "storage",
            "The free storage of the database is less than 10 percent of database.storage_gib. "
            "Raise database.storage_max_gib.",
            *("FreeStorageSpace", "Minimum", storage_gib * GIB / 10, UNDER),
        ),
    ):
        source = Metric("AWS/RDS", metric, {"DBInstanceIdentifier": identifier}, statistic)
        yield Alarm(f"database-{name}", text, "database", source, threshold, comparison, MINUTES)


def _cache_node(node: str, names: Naming) -> Iterator[Alarm]:
    """Yield alarms on the CPU and memory of a cache node. `node`: the full ID of the node."""
    for kind, metric, statistic, condition in (
        (
            *("cpu", "EngineCPUUtilization", "Average"),
            "CPU utilization of the cache engine is high, which slows down rate limit checks.",
        ),
        (
            *("memory", "DatabaseMemoryUsagePercentage", "Maximum"),
            "Memory usage of the cache is high. A full cache rejects writes.",
        ),
    ):
        yield Alarm(
            f"{node.removeprefix(names.name(''))}-{kind}",
            f"{condition} Raise cache.node_type.",
            "cache",
            Metric("AWS/ElastiCache", metric, {"CacheClusterId": node}, statistic),
            80,
            evaluation=MINUTES,
        )


def _table(table: Text, names: Naming) -> Alarm:
    """Return the alarm for the secret links table. table: name of the table.

    DynamoDB reports throttled requests only while it throttles. CloudWatch ignores missing data of
    the namespace AWS/DynamoDB (API Reference, PutMetricAlarm, TreatMissingData), so an alarm on
    such a metric alone would remain in ALARM. The age of due secrets is published every minute.
    """
    metrics = {
        kind.lower(): Metric("AWS/DynamoDB", f"{kind}ThrottleEvents", {"TableName": table})
        for kind in ("Read", "Write")
    }
    due = service_metric("console", "DueSecretsSeconds", names)
    return Alarm(
        "table-throttled",
        "DynamoDB throttles requests to the secret links table. Check for a hot key or a sudden "
        "increase in traffic.",
        "tokens",
        Expression("FILL(read, 0) + FILL(write, 0) + 0 * due", {**metrics, "due": due}),
        10,
    )


def event_rule_alarm(rule: str, names: Naming) -> Alarm:
    """Return the alarm for an event rule. `rule` is the resource name of the rule."""
    return Alarm(
        f"{rule}-undelivered",
        f"EventBridge could not deliver an event of the rule {rule}. Check the policy of its "
        "target and of the target's key.",
        "undelivered-events",
        Metric("AWS/Events", "FailedInvocations", {"RuleName": names.name(rule)}),
    )


def function_alarm(function: str, description: str, runbook: str, names: Naming) -> Alarm:
    metric = Metric(LAMBDA, "Errors", {"FunctionName": names.name(function)})
    return Alarm(f"{function}-errors", description, runbook, metric)


def _maintenance(certificate_arn: Text, names: Naming) -> Iterator[Alarm]:
    """Yield alarms for the certificate, the rotation function and the function's dead-letter
    queue.
    """
    certificate = {"CertificateArn": certificate_arn}
    queue = {"QueueName": names.dead_letter_queue(ROTATION_FUNCTION)}
    yield Alarm(
        "certificate-expiry",
        f"The certificate expires in less than {CERTIFICATE_DAYS} days and ACM has not renewed it.",
        "certificate-expiry",
        Metric("AWS/CertificateManager", "DaysToExpiry", certificate, "Minimum"),
        CERTIFICATE_DAYS,
        UNDER,
        evaluation=(86400, 1, 1),
    )
    yield function_alarm(
        ROTATION_FUNCTION,
        "The secret rotation function failed. The previous values remain in use. Check the log "
        "group of the function.",
        "rotation-failure",
        names,
    )
    yield Alarm(
        "rotation-dead-letters",
        "The dead-letter queue of the rotation function contains failed events. Each event "
        "names its secret.",
        "rotation-failure",
        Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Maximum"),
    )


def alarm_description(description: str, runbook: str, stack: Stack) -> str:
    return f"{description} {stack.settings.monitoring.runbooks_url}/{runbook}.md"


def metric_alarm(
    alarm: Alarm, stack: Stack, topic_arn: Text, parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Create the CloudWatch alarm. The topic receives the states ALARM and OK."""
    metric, (period_s, breaching, periods) = alarm.metric, alarm.evaluation
    source: dict[str, Any] = (
        {"metric_queries": _metric_queries(alarm.name, metric, period_s)}
        if isinstance(metric, Expression)
        else {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": dict(metric.dimensions) or None,
            "statistic": metric.statistic,
            "unit": metric.unit,
            "period": period_s,
        }
    )
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=stack.names.name(alarm.name),
        alarm_description=alarm_description(alarm.description, alarm.runbook, stack),
        **source,
        evaluation_periods=periods,
        datapoints_to_alarm=breaching,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        actions_enabled=True,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
        tags=tags("none"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _metric_queries(
    alarm: str, expression: Expression, period_s: int
) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict]:
    queries: list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict] = [
        {
            "id": query,
            "metric": {
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "dimensions": dict(metric.dimensions),
                "stat": metric.statistic,
                "unit": metric.unit,
                "period": period_s,
            },
            "return_data": False,
        }
        for query, metric in expression.metrics.items()
    ]
    return [
        *queries,
        {"id": "result", "expression": expression.text, "label": alarm, "return_data": True},
    ]
