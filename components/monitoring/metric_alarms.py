"""Every alarm of a stack as plain data: what is measured, from when on it is too much, and which runbook helps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.naming import Naming

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
BALANCER, API, FUNCTION = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
CERTIFICATE_DAYS = 30
"""ACM renews 60 days before the end; what is not renewed by now needs somebody."""

Dimensions = Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: a metric, where it is taken, and the bound that it must not cross for `periods` times `period_s`.

    words: what is wrong and what to look at first. runbook: its file in docs/runbooks, without ending.
    at: one set of dimensions, or two, which are added up for a sum and otherwise stand for the worse of the two.
    statistic: a CloudWatch statistic, or a percentile such as "p99".
    """

    name: str
    words: str
    runbook: str
    namespace: str
    metric: str
    at: Sequence[Dimensions]
    statistic: str
    threshold: float
    comparison: str = OVER
    period_s: int = 60
    periods: int = 5
    missing: str = "notBreaching"
    """What a period without a value counts as. A service without traffic reports nothing, and that is no fault; a measurement that
    is made at a steady beat is missed ("breaching")."""

    @property
    def expression(self) -> str:
        """What is watched when there are two sets of dimensions: metric math over `blue` and `green`, either of which
        has no traffic most of the time."""
        both = "FILL(blue, 0), FILL(green, 0)"
        return f"SUM([{both}])" if self.statistic == "Sum" else f"MAX([{both}])"


def of_balancer(label: pulumi.Input[str], errors_max: int) -> Iterator[Alarm]:
    """The load balancer as a whole."""
    yield Alarm(
        "edge-5xx",
        "The load balancer itself answers with 5xx: no healthy task, or tasks hang up. See the unhealthy alarms.",
        "errors",
        BALANCER,
        "HTTPCode_ELB_5XX_Count",
        [{"LoadBalancer": label}],
        "Sum",
        threshold=errors_max,
        period_s=300,
        periods=1,
    )


def of_load_balanced_service(
    service: str, balancer: pulumi.Input[str], labels: Sequence[pulumi.Input[str]], *, errors_max: int, latency_s_max: int
) -> Iterator[Alarm]:
    """A service's own health, wherever a deployment has moved its traffic."""
    at = [{"LoadBalancer": balancer, "TargetGroup": label} for label in labels]
    yield Alarm(
        f"{service}-5xx",
        f"The {service} service answers with 5xx. Look at its log group for level error.",
        "errors",
        BALANCER,
        "HTTPCode_Target_5XX_Count",
        at,
        "Sum",
        threshold=errors_max,
        period_s=300,
        periods=1,
    )
    yield Alarm(
        f"{service}-latency",
        f"One request in a hundred at the {service} service is slow. Look at CPU of its service, then of the database.",
        "latency",
        BALANCER,
        "TargetResponseTime",
        at,
        "p99",
        threshold=latency_s_max,
    )
    yield Alarm(
        f"{service}-unhealthy",
        f"A task of the {service} service fails its readiness check. Its /readyz says which store it misses.",
        "errors",
        BALANCER,
        "UnHealthyHostCount",
        at,
        "Maximum",
        threshold=0,
    )


def of_function(service: str, names: Naming, *, stage: str, errors_max: int, latency_s_max: int) -> Iterator[Alarm]:
    """The same of a service that a function serves behind a REST API, both called after the service."""
    api, function = [{"ApiName": names.name(service), "Stage": stage}], [{"FunctionName": names.name(service)}]
    yield Alarm(
        f"{service}-5xx",
        f"The {service} service answers with 5xx. Look at the log group of its function, then at its access log.",
        "errors",
        API,
        "5XXError",
        api,
        "Sum",
        threshold=errors_max,
        period_s=300,
        periods=1,
    )
    yield Alarm(
        f"{service}-latency",
        f"One request in a hundred at the {service} service is slow. Look at cold starts and memory of its function.",
        "latency",
        API,
        "Latency",
        api,
        "p99",
        threshold=latency_s_max * 1000,
    )
    yield Alarm(
        f"{service}-throttles",
        f"The function of the {service} service is asked for more at a time than it may answer. Raise sharing.reserved_concurrency.",
        "saturation",
        FUNCTION,
        "Throttles",
        function,
        "Sum",
        threshold=0,
    )
    yield Alarm(
        f"{service}-function-errors",
        f"The function of the {service} service ends without an answer: it does not start, or takes too long. Read its log group.",
        "errors",
        FUNCTION,
        "Errors",
        function,
        "Sum",
        threshold=0,
        period_s=300,
        periods=1,
    )


def of_service(name: str, cluster: pulumi.Input[str], names: Naming) -> Iterator[Alarm]:
    """CPU and memory of an ECS service."""
    at = [{"ClusterName": cluster, "ServiceName": names.name(name)}]
    yield Alarm(
        f"{name}-cpu",
        f"The {name} service is out of CPU although it may grow. Raise its tasks_max.",
        "saturation",
        "AWS/ECS",
        "CPUUtilization",
        at,
        "Average",
        threshold=90,
    )
    yield Alarm(
        f"{name}-memory",
        f"The {name} service is short of memory; tasks will be killed. Raise its memory_mib.",
        "saturation",
        "AWS/ECS",
        "MemoryUtilization",
        at,
        "Maximum",
        threshold=85,
    )


def of_database(identifier: pulumi.Input[str], storage_gib: int) -> Iterator[Alarm]:
    """The database's CPU and storage."""
    at = [{"DBInstanceIdentifier": identifier}]
    yield Alarm(
        "database-cpu",
        "The database is out of CPU. Look at Performance Insights, then raise database.instance_class.",
        "database",
        "AWS/RDS",
        "CPUUtilization",
        at,
        "Average",
        threshold=85,
    )
    yield Alarm(
        "database-storage",
        "Less than a tenth of the database's storage is free. Raise database.storage_max_gib.",
        "database",
        "AWS/RDS",
        "FreeStorageSpace",
        at,
        "Minimum",
        threshold=storage_gib * GIB / 10,
        comparison=UNDER,
    )


def of_cache_node(node: str, names: Naming) -> Iterator[Alarm]:
    """One node of the cache; `node` is its full id."""
    at = [{"CacheClusterId": node}]
    yield Alarm(
        f"{node.removeprefix(names.name(''))}-cpu",
        "The cache's one working thread is out of CPU; limits will answer late. Raise cache.node_type.",
        "cache",
        "AWS/ElastiCache",
        "EngineCPUUtilization",
        at,
        "Average",
        threshold=80,
    )
    yield Alarm(
        f"{node.removeprefix(names.name(''))}-memory",
        "The cache is nearly full and will throw counters out. Raise cache.node_type.",
        "cache",
        "AWS/ElastiCache",
        "DatabaseMemoryUsagePercentage",
        at,
        "Maximum",
        threshold=80,
    )


def of_table(table: pulumi.Input[str]) -> Iterator[Alarm]:
    """The table of share tokens; `table` is its name."""
    for metric, acts in (("ReadThrottleEvents", "reads"), ("WriteThrottleEvents", "writes")):
        yield Alarm(
            f"tokens-{acts}-throttled",
            f"DynamoDB refuses {acts} of the tokens table: more than it has grown to, or one token that is hammered.",
            "tokens",
            "AWS/DynamoDB",
            metric,
            [{"TableName": table}],
            "Sum",
            threshold=10,
            period_s=300,
            periods=1,
        )
    yield Alarm(
        "tokens-errors",
        "DynamoDB itself fails on the tokens table: links can be neither opened nor made. See the AWS Health dashboard.",
        "tokens",
        "AWS/DynamoDB",
        "SystemErrors",
        # AWS counts these by operation alone: one that reads a token, one that uses it up.
        [{"TableName": table, "Operation": operation} for operation in ("GetItem", "UpdateItem")],
        "Sum",
        threshold=0,
        period_s=300,
        periods=1,
    )


def of_upkeep(certificate_arn: pulumi.Input[str], rotator: str, failed: str) -> Iterator[Alarm]:
    """What nobody looks at until it has run out: the certificate, the function that rotates secrets, and the queue of its
    failed calls."""
    yield Alarm(
        "certificate-expiry",
        f"The certificate of the services ends in less than {CERTIFICATE_DAYS} days and ACM has not renewed it.",
        "certificate-expiry",
        "AWS/CertificateManager",
        "DaysToExpiry",
        [{"CertificateArn": certificate_arn}],
        "Minimum",
        threshold=CERTIFICATE_DAYS,
        comparison=UNDER,
        period_s=86400,
        periods=1,
    )
    yield Alarm(
        "rotation-errors",
        "The function that rotates secrets has failed; the old values stay in use. Read its log group.",
        "rotation-failure",
        FUNCTION,
        "Errors",
        [{"FunctionName": rotator}],
        "Sum",
        threshold=0,
        period_s=300,
        periods=1,
    )
    yield Alarm(
        "rotation-given-up",
        "Lambda has given up calls of the rotation function; each lies in the queue, with the name of its secret.",
        "rotation-failure",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        [{"QueueName": failed}],
        "Maximum",
        threshold=0,
        period_s=300,
        periods=1,
    )


def of_filter(name: str, words: str, runbook: str, namespace: str, *, threshold: float, period_s: int = 300) -> Alarm:
    """An alarm on lines that a metric filter of the same name counts."""
    return Alarm(name, words, runbook, namespace, name, [{}], "Sum", threshold, period_s=period_s, periods=1)
