"""Defines the metric alarms of a stack and creates a CloudWatch alarm from each definition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import TargetGroupDimensions
from components.contract import Stack
from components.iam.role_policies import ROTATION_FUNCTION
from components.iam.sharing_roles import STAGE
from components.naming import REPLICATION_RULE, Naming, tags
from components.settings.workloads import SHARING_TIMEOUT_S

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
CERTIFICATE_DAYS = 30
"""ACM renews certificates 60 days before they expire."""
DURATION_PERCENT = 80
"""Percentage of a function's timeout that an invocation may take before the alarm is raised."""

FIVE_TIMES, ONCE = (60, 5), (300, 1)
"""Evaluation of an alarm: length of a period in seconds and number of consecutive periods."""

Text = pulumi.Input[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredResources:
    """Resources that have alarms and widgets, and whose names AWS generates.

    load_balancers: CloudWatch dimension of each load balancer, keyed by resource name.
    target_groups: CloudWatch dimensions of both target groups of a service, keyed by service.
    cluster, database, table: Names of the ECS cluster, DB instance and secret links table.
    nat_gateways: IDs of the NAT gateways, keyed by zone.
    certificate_arn: Certificate of the load balancer.
    """

    load_balancers: Mapping[str, Text]
    target_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    cluster: Text
    database: Text
    table: Text
    nat_gateways: Mapping[str, Text]
    certificate_arn: Text


@dataclass(frozen=True, slots=True)
class Metric:
    """A CloudWatch metric.

    dimensions: One set of dimensions, or two for blue and green target groups. Metric math combines
        two sets: the sum for the statistic Sum, the maximum for all other statistics.
    statistic: CloudWatch statistic, or a percentile such as "p99".
    minus: Name of a metric with the same namespace, dimensions and statistic that is subtracted; ""
        for none.
    """

    namespace: str
    name: str
    dimensions: Sequence[Mapping[str, Text]]
    statistic: str = "Sum"
    minus: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm on a metric.

    name: Resource name.
    description: Condition, and the first action that the operator takes.
    runbook: File name in docs/runbooks, without extension.
    threshold: Value that the metric crosses in all periods of `evaluation` before the alarm is
        raised.
    missing: Treatment of missing data: "notBreaching" for metrics that require traffic, "breaching"
        for metrics with a fixed interval.
    """

    name: str
    description: str
    runbook: str
    metric: Metric
    threshold: float = 0
    comparison: str = OVER
    evaluation: tuple[int, int] = ONCE
    missing: str = "notBreaching"


def resource_alarms(stack: Stack, resources: MonitoredResources) -> Iterator[Alarm]:
    """Yield the alarms on resources, except those that roll back a deployment
    (`service_alarms`).
    """
    settings, names = stack.settings, stack.names
    for name, label in resources.load_balancers.items():
        balancer = [{"LoadBalancer": label}]
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
            Metric("AWS/NATGateway", "ErrorPortAllocation", [{"NatGatewayId": nat_gateway}]),
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
            Metric("AWS/S3", "OperationsFailedReplication", [buckets]),
        )
    for node in names.cache_nodes(1 + settings.cache.replicas):
        yield from _cache_node(node, names)
    yield from _table(resources.table)
    yield from _maintenance(resources.certificate_arn, names)


def service_alarms(stack: Stack, resources: MonitoredResources) -> dict[str, list[Alarm]]:
    """Return the alarms that roll back a deployment, keyed by service: 5xx errors, latency and
    saturation, in this order.
    """
    return {
        service: list(_target_group(service, groups, stack))
        for service, groups in resources.target_groups.items()
    } | {
        function.service.name: list(_function(function.service.name, stack))
        for function in stack.contract.functions.values()
    }


def _target_group(
    service: str, groups: Sequence[TargetGroupDimensions], stack: Stack
) -> Iterator[Alarm]:
    """Yield alarms for a service behind the load balancer. Each alarm covers both target groups of
    the service.
    """
    yield from _errors_and_latency(
        service,
        Metric(LOAD_BALANCER, "HTTPCode_Target_5XX_Count", groups),
        Metric(LOAD_BALANCER, "TargetResponseTime", groups, "p99"),
        stack,
        "Search the log group of the service for level error.",
        "Check the CPU utilization of the ECS service, then of the database.",
    )
    yield Alarm(
        f"{service}-unhealthy",
        f"A target of the {service} service fails its health check. The response from /readyz "
        "names the failing dependency.",
        "errors",
        Metric(LOAD_BALANCER, "UnHealthyHostCount", groups, "Maximum"),
        evaluation=FIVE_TIMES,
    )


def _function(service: str, stack: Stack) -> Iterator[Alarm]:
    """Yield alarms for a service that runs as a Lambda function behind a REST API. The function and
    the API are named after the service."""
    name = stack.names.name(service)
    api, function = [{"ApiName": name, "Stage": STAGE}], [{"FunctionName": name}]
    yield from _errors_and_latency(
        service,
        Metric(REST_API, "5XXError", api),
        Metric(REST_API, "Latency", api, "p99"),
        stack,
        "Check the log group of its function, then its access log.",
        "Check cold starts and memory of its function.",
        latency_unit=1000,
    )
    yield Alarm(
        f"{service}-throttles",
        f"The {service} function reached its reserved concurrency. Raise "
        "sharing.reserved_concurrency.",
        "saturation",
        Metric(LAMBDA, "Throttles", function),
        evaluation=FIVE_TIMES,
    )
    yield Alarm(
        f"{service}-function-errors",
        f"The function of the {service} service fails to start or times out. Check the log "
        "group of the function.",
        "errors",
        Metric(LAMBDA, "Errors", function),
    )
    yield Alarm(
        f"{service}-function-duration",
        f"An invocation of the {service} function took more than {DURATION_PERCENT} percent of its "
        f"timeout of {SHARING_TIMEOUT_S} s. Check its dependencies, then raise sharing.memory_mib.",
        "latency",
        Metric(LAMBDA, "Duration", function, "Maximum"),
        SHARING_TIMEOUT_S * 10 * DURATION_PERCENT,
    )


def _errors_and_latency(
    service: str,
    errors: Metric,
    latency: Metric,
    stack: Stack,
    on_errors: str,
    on_latency: str,
    *,
    latency_unit: int = 1,
) -> Iterator[Alarm]:
    """Yield the alarms on 5xx errors and on latency, with their first actions. latency_unit: units
    of the metric in a second.
    """
    monitoring = stack.settings.monitoring
    text = f"The {service} service returns 5xx errors. {on_errors}"
    yield Alarm(f"{service}-5xx", text, "errors", errors, monitoring.error_alarm_threshold)
    text = f"The p99 latency of the {service} service is high. {on_latency}"
    threshold = monitoring.latency_alarm_threshold_s * latency_unit
    yield Alarm(f"{service}-latency", text, "latency", latency, threshold, evaluation=FIVE_TIMES)


def _ecs_service(name: str, cluster: Text, names: Naming) -> Iterator[Alarm]:
    """Yield alarms on CPU, memory and missing tasks of an ECS service."""
    dimensions = [{"ClusterName": cluster, "ServiceName": names.name(name)}]
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
            evaluation=FIVE_TIMES,
        )
    # Container Insights publishes both counts every minute. A deployment starts new tasks before it
    # stops others, and auto scaling needs a few minutes to start tasks. Source: CloudWatch User
    # Guide, "Amazon ECS Container Insights metrics".
    desired, running = "DesiredTaskCount", "RunningTaskCount"
    yield Alarm(
        f"{name}-tasks",
        f"The ECS service {name} has run fewer tasks than it should for ten minutes. Check the "
        "events of the service.",
        "errors",
        Metric("ECS/ContainerInsights", desired, dimensions, "Average", minus=running),
        evaluation=(60, 10),
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

    larger = "database.instance_class."
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
        source = Metric("AWS/RDS", metric, [{"DBInstanceIdentifier": identifier}], statistic)
        yield Alarm(f"database-{name}", text, "database", source, threshold, comparison, FIVE_TIMES)


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
            Metric("AWS/ElastiCache", metric, [{"CacheClusterId": node}], statistic),
            80,
            evaluation=FIVE_TIMES,
        )


def _table(table: Text) -> Iterator[Alarm]:
    """Yield alarms for the secret links table. `table`: the name of the table."""
    for kind in ("Read", "Write"):
        yield Alarm(
            f"tokens-{kind.lower()}s-throttled",
            f"DynamoDB throttles {kind.lower()}s of the secret links table. Check for a hot "
            "key or a sudden increase in traffic.",
            "tokens",
            Metric("AWS/DynamoDB", f"{kind}ThrottleEvents", [{"TableName": table}]),
            10,
        )
    # CloudWatch has this metric only for each operation, not for the table.
    operations = [
        {"TableName": table, "Operation": operation} for operation in ("GetItem", "UpdateItem")
    ]
    yield Alarm(
        "tokens-errors",
        "DynamoDB returns system errors for the secret links table, so links cannot be created or "
        "opened. Check the AWS Health Dashboard.",
        "tokens",
        Metric("AWS/DynamoDB", "SystemErrors", operations),
    )


def event_rule_alarm(rule: str, names: Naming) -> Alarm:
    """Return the alarm for an event rule. `rule` is the resource name of the rule."""
    return Alarm(
        f"{rule}-undelivered",
        f"EventBridge could not deliver an event of the rule {rule}. Check the policy of its "
        "target and of the target's key.",
        "undelivered-events",
        Metric("AWS/Events", "FailedInvocations", [{"RuleName": names.name(rule)}]),
    )


def function_alarm(function: str, description: str, runbook: str, names: Naming) -> Alarm:
    """Return the alarm on failed invocations of a function."""
    metric = Metric(LAMBDA, "Errors", [{"FunctionName": names.name(function)}])
    return Alarm(f"{function}-errors", description, runbook, metric)


def _maintenance(certificate_arn: Text, names: Naming) -> Iterator[Alarm]:
    """Yield alarms for the certificate, the rotation function and the function's dead-letter
    queue.
    """
    certificate, queue = (
        [{"CertificateArn": certificate_arn}],
        [{"QueueName": names.dead_letter_queue(ROTATION_FUNCTION)}],
    )
    yield Alarm(
        "certificate-expiry",
        f"The certificate expires in less than {CERTIFICATE_DAYS} days and ACM has not renewed it.",
        "certificate-expiry",
        Metric("AWS/CertificateManager", "DaysToExpiry", certificate, "Minimum"),
        CERTIFICATE_DAYS,
        UNDER,
        evaluation=(86400, 1),
    )
    yield Alarm(
        "rotation-errors",
        "The secret rotation function failed. The previous values remain in use. Check the log "
        "group of the function.",
        "rotation-failure",
        Metric(LAMBDA, "Errors", [{"FunctionName": names.name(ROTATION_FUNCTION)}]),
    )
    yield Alarm(
        "rotation-dead-letters",
        "The dead-letter queue of the rotation function contains failed events. Each event "
        "names its secret.",
        "rotation-failure",
        Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Maximum"),
    )


def alarm_description(description: str, runbook: str, stack: Stack) -> str:
    """Return the description followed by the URL of the runbook."""
    return f"{description} {stack.settings.monitoring.runbooks_url}/{runbook}.md"


def metric_alarm(
    alarm: Alarm, stack: Stack, topic_arn: Text, parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Create the CloudWatch alarm. The topic receives the states ALARM and OK."""
    metric, (period_s, periods) = alarm.metric, alarm.evaluation
    single = len(metric.dimensions) == 1 and not metric.minus
    percentile = metric.statistic.startswith("p")
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=stack.names.name(alarm.name),
        alarm_description=alarm_description(alarm.description, alarm.runbook, stack),
        namespace=metric.namespace if single else None,
        metric_name=metric.name if single else None,
        dimensions=dict(metric.dimensions[0]) or None if single else None,
        statistic=metric.statistic if single and not percentile else None,
        extended_statistic=metric.statistic if single and percentile else None,
        period=period_s if single else None,
        metric_queries=None if single else list(_metric_queries(alarm.name, metric, period_s)),
        evaluation_periods=periods,
        datapoints_to_alarm=periods,
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
    alarm: str, metric: Metric, period_s: int
) -> Iterator[aws.cloudwatch.MetricAlarmMetricQueryArgsDict]:
    """Yield a query for each target group or for the two metrics of a difference, and an expression
    that combines them. One target group usually has no traffic."""
    if metric.minus:
        sources = {
            "total": (metric.name, metric.dimensions[0]),
            "minus": (metric.minus, metric.dimensions[0]),
        }
        expression = "FILL(total, 0) - FILL(minus, 0)"
    else:
        sources = {
            color: (metric.name, dimensions)
            for color, dimensions in zip(("blue", "green"), metric.dimensions, strict=True)
        }
        expression = (
            f"{'SUM' if metric.statistic == 'Sum' else 'MAX'}([FILL(blue, 0), FILL(green, 0)])"
        )
    for query, (name, dimensions) in sources.items():
        yield {
            "id": query,
            "metric": {
                "namespace": metric.namespace,
                "metric_name": name,
                "dimensions": dict(dimensions),
                "stat": metric.statistic,
                "period": period_s,
            },
            "return_data": False,
        }
    yield {"id": "both", "expression": expression, "label": alarm, "return_data": True}
