"""Metric alarms of a stack: their definitions, and the CloudWatch alarm of a definition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.naming import Naming
from components.tags import tags

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
CERTIFICATE_DAYS = 30
"""ACM renews certificates 60 days before they expire."""

Dimensions = Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A metric and its threshold.

    name: Resource name.
    description: Condition and first action of the operator.
    runbook: File name in docs/runbooks, without extension.
    namespace: Namespace of the metric.
    metric: Name of the metric.
    dimensions: One set of dimensions, or two for blue and green target groups. Two are combined by metric math: their sum
        for the statistic Sum, otherwise their maximum.
    statistic: CloudWatch statistic, or a percentile such as "p99".
    threshold: Value that must not be crossed for `periods` times `period_s`.
    missing: Treatment of missing data. A service without traffic reports nothing; a metric with a fixed interval is
        "breaching" if it is missing.
    """

    name: str
    description: str
    runbook: str
    namespace: str
    metric: str
    dimensions: Sequence[Dimensions]
    statistic: str
    threshold: float
    comparison: str = OVER
    period_s: int = 60
    periods: int = 5
    missing: str = "notBreaching"

    @property
    def expression(self) -> str:
        """Metric math over `blue` and `green`, one of which usually has no traffic."""
        series = "FILL(blue, 0), FILL(green, 0)"
        return f"SUM([{series}])" if self.statistic == "Sum" else f"MAX([{series}])"


def count_alarm(
    name: str,
    description: str,
    runbook: str,
    namespace: str,
    metric: str,
    dimensions: Sequence[Dimensions],
    threshold: float,
    period_s: int = 300,
) -> Alarm:
    """Return an alarm on a count that exceeds the threshold within one period."""
    return Alarm(
        name=name,
        description=description,
        runbook=runbook,
        namespace=namespace,
        metric=metric,
        dimensions=dimensions,
        statistic="Sum",
        threshold=threshold,
        period_s=period_s,
        periods=1,
    )


def load_balancer_alarms(label: pulumi.Input[str], errors_max: int) -> Iterator[Alarm]:
    """Yield alarms of the load balancer itself."""
    yield count_alarm(
        "edge-5xx",
        "The load balancer returns 5xx errors: no target is healthy, or targets close connections. Check the unhealthy alarms.",
        "errors",
        LOAD_BALANCER,
        "HTTPCode_ELB_5XX_Count",
        [{"LoadBalancer": label}],
        errors_max,
    )


def target_group_alarms(
    service: str,
    load_balancer: pulumi.Input[str],
    labels: Sequence[pulumi.Input[str]],
    *,
    errors_max: int,
    latency_s_max: int,
) -> Iterator[Alarm]:
    """Yield alarms of a service behind the load balancer, over both of its target groups."""
    dimensions = [{"LoadBalancer": load_balancer, "TargetGroup": label} for label in labels]
    yield count_alarm(
        f"{service}-5xx",
        f"The {service} service returns 5xx errors. Search its log group for level error.",
        "errors",
        LOAD_BALANCER,
        "HTTPCode_Target_5XX_Count",
        dimensions,
        errors_max,
    )
    yield Alarm(
        name=f"{service}-latency",
        description=f"The p99 latency of the {service} service is high. Check CPU of the ECS service, then of the database.",
        runbook="latency",
        namespace=LOAD_BALANCER,
        metric="TargetResponseTime",
        dimensions=dimensions,
        statistic="p99",
        threshold=latency_s_max,
    )
    yield Alarm(
        name=f"{service}-unhealthy",
        description=f"A target of the {service} service fails its health check. Its /readyz names the failing dependency.",
        runbook="errors",
        namespace=LOAD_BALANCER,
        metric="UnHealthyHostCount",
        dimensions=dimensions,
        statistic="Maximum",
        threshold=0,
    )


def function_alarms(service: str, names: Naming, *, stage: str, errors_max: int, latency_s_max: int) -> Iterator[Alarm]:
    """Yield alarms of a service that runs as a Lambda function behind a REST API. Both have the name of the service."""
    api, function = [{"ApiName": names.name(service), "Stage": stage}], [{"FunctionName": names.name(service)}]
    yield count_alarm(
        f"{service}-5xx",
        f"The {service} service returns 5xx errors. Check the log group of its function, then its access log.",
        "errors",
        REST_API,
        "5XXError",
        api,
        errors_max,
    )
    yield Alarm(
        name=f"{service}-latency",
        description=f"The p99 latency of the {service} service is high. Check cold starts and memory of its function.",
        runbook="latency",
        namespace=REST_API,
        metric="Latency",
        dimensions=api,
        statistic="p99",
        threshold=latency_s_max * 1000,
    )
    yield Alarm(
        name=f"{service}-throttles",
        description=f"The {service} function reached its reserved concurrency. Raise sharing.reserved_concurrency.",
        runbook="saturation",
        namespace=LAMBDA,
        metric="Throttles",
        dimensions=function,
        statistic="Sum",
        threshold=0,
    )
    yield count_alarm(
        f"{service}-function-errors",
        f"The function of the {service} service fails to start or times out. Check its log group.",
        "errors",
        LAMBDA,
        "Errors",
        function,
        0,
    )


def ecs_service_alarms(name: str, cluster: pulumi.Input[str], names: Naming) -> Iterator[Alarm]:
    """Yield alarms on CPU and memory of an ECS service."""
    for metric, statistic, threshold, description in (
        ("CPU", "Average", 90, f"CPU utilization of the ECS service {name} is high. Raise its tasks_max."),
        ("Memory", "Maximum", 85, f"Memory utilization of the ECS service {name} is high. Raise its memory_mib."),
    ):
        yield Alarm(
            name=f"{name}-{metric.lower()}",
            description=description,
            runbook="saturation",
            namespace="AWS/ECS",
            metric=f"{metric}Utilization",
            dimensions=[{"ClusterName": cluster, "ServiceName": names.name(name)}],
            statistic=statistic,
            threshold=threshold,
        )


def database_alarms(identifier: pulumi.Input[str], storage_gib: int) -> Iterator[Alarm]:
    """Yield alarms on CPU and storage of the DB instance."""
    dimensions = [{"DBInstanceIdentifier": identifier}]
    yield Alarm(
        name="database-cpu",
        description="CPU utilization of the database is high. Check Performance Insights, then raise database.instance_class.",
        runbook="database",
        namespace="AWS/RDS",
        metric="CPUUtilization",
        dimensions=dimensions,
        statistic="Average",
        threshold=85,
    )
    yield Alarm(
        name="database-storage",
        description="Less than 10 percent of the database storage is free. Raise database.storage_max_gib.",
        runbook="database",
        namespace="AWS/RDS",
        metric="FreeStorageSpace",
        dimensions=dimensions,
        statistic="Minimum",
        threshold=storage_gib * GIB / 10,
        comparison=UNDER,
    )


def cache_node_alarms(node: str, names: Naming) -> Iterator[Alarm]:
    """Yield alarms on CPU and memory of a cache node, given by its full id."""
    for metric, suffix, statistic, description in (
        (
            "EngineCPUUtilization",
            "cpu",
            "Average",
            "CPU utilization of the cache engine thread is high; rate limit checks become slow. Raise cache.node_type.",
        ),
        (
            "DatabaseMemoryUsagePercentage",
            "memory",
            "Maximum",
            "Memory usage of the cache is high; counters will be evicted. Raise cache.node_type.",
        ),
    ):
        yield Alarm(
            name=f"{node.removeprefix(names.name(''))}-{suffix}",
            description=description,
            runbook="cache",
            namespace="AWS/ElastiCache",
            metric=metric,
            dimensions=[{"CacheClusterId": node}],
            statistic=statistic,
            threshold=80,
        )


def table_alarms(table: pulumi.Input[str]) -> Iterator[Alarm]:
    """Yield alarms of the secret links table, given by name."""
    for metric, operations in (("ReadThrottleEvents", "reads"), ("WriteThrottleEvents", "writes")):
        yield count_alarm(
            f"tokens-{operations}-throttled",
            f"DynamoDB throttles {operations} of the secret links table. Check for a hot key or a sudden increase in traffic.",
            "tokens",
            "AWS/DynamoDB",
            metric,
            [{"TableName": table}],
            10,
        )
    yield count_alarm(
        "tokens-errors",
        "DynamoDB returns system errors for the secret links table. Links cannot be opened or created. "
        "Check the AWS Health Dashboard.",
        "tokens",
        "AWS/DynamoDB",
        "SystemErrors",
        # The metric exists for each operation only.
        [{"TableName": table, "Operation": operation} for operation in ("GetItem", "UpdateItem")],
        0,
    )


def maintenance_alarms(certificate_arn: pulumi.Input[str], rotation_function: str, dead_letter_queue: str) -> Iterator[Alarm]:
    """Yield alarms of the certificate, the rotation function and its dead-letter queue."""
    yield Alarm(
        name="certificate-expiry",
        description=f"The certificate expires in less than {CERTIFICATE_DAYS} days and ACM has not renewed it.",
        runbook="certificate-expiry",
        namespace="AWS/CertificateManager",
        metric="DaysToExpiry",
        dimensions=[{"CertificateArn": certificate_arn}],
        statistic="Minimum",
        threshold=CERTIFICATE_DAYS,
        comparison=UNDER,
        period_s=86400,
        periods=1,
    )
    yield count_alarm(
        "rotation-errors",
        "The secret rotation function failed. The previous values remain in use. Check its log group.",
        "rotation-failure",
        LAMBDA,
        "Errors",
        [{"FunctionName": rotation_function}],
        0,
    )
    yield Alarm(
        name="rotation-dead-letters",
        description="The dead-letter queue of the rotation function contains failed events. Each names its secret.",
        runbook="rotation-failure",
        namespace="AWS/SQS",
        metric="ApproximateNumberOfMessagesVisible",
        dimensions=[{"QueueName": dead_letter_queue}],
        statistic="Maximum",
        threshold=0,
        period_s=300,
        periods=1,
    )


def alarm_description(description: str, runbook: str, runbooks_url: str) -> str:
    """Return the description followed by the URL of the runbook."""
    return f"{description} {runbooks_url}/{runbook}.md"


def metric_alarm(
    alarm: Alarm, names: Naming, runbooks_url: str, topic_arn: pulumi.Input[str], parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Create the CloudWatch alarm, which notifies the topic on ALARM and OK."""
    single = alarm.dimensions[0] if len(alarm.dimensions) == 1 else None
    percentile = alarm.statistic.startswith("p")
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=names.name(alarm.name),
        alarm_description=alarm_description(alarm.description, alarm.runbook, runbooks_url),
        namespace=alarm.namespace if single is not None else None,
        metric_name=alarm.metric if single is not None else None,
        dimensions=dict(single) if single else None,
        statistic=alarm.statistic if single is not None and not percentile else None,
        extended_statistic=alarm.statistic if single is not None and percentile else None,
        period=alarm.period_s if single is not None else None,
        metric_queries=list(_metric_queries(alarm)) if single is None else None,
        evaluation_periods=alarm.periods,
        datapoints_to_alarm=alarm.periods,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        actions_enabled=True,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
        tags=tags("none"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _metric_queries(alarm: Alarm) -> Iterator[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    for color, dimensions in zip(("blue", "green"), alarm.dimensions, strict=True):
        yield aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id=color,
            metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                namespace=alarm.namespace,
                metric_name=alarm.metric,
                dimensions=dict(dimensions),
                stat=alarm.statistic,
                period=alarm.period_s,
            ),
            return_data=False,
        )
    yield aws.cloudwatch.MetricAlarmMetricQueryArgs(id="both", expression=alarm.expression, label=alarm.name, return_data=True)
