"""The CloudWatch dashboard of a stack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.component import TargetGroupDimensions
from components.monitoring.log_alarms import (
    DENIED_LINKS,
    LATE_SECRETS,
    LOCKED_LINKS,
    SECRET_FAILURES,
)
from components.naming import Naming

COLUMNS = 24
"""Width of the CloudWatch dashboard grid."""

Text = pulumi.Input[str]
Widget = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredResources:
    """Resources that have alarms and widgets.

    load_balancers: CloudWatch dimension of each load balancer, keyed by resource name.
    target_groups: CloudWatch dimensions of both target groups of a service, keyed by service.
    ecs_services: Names of the ECS services.
    cluster, database, cache_nodes, table: Names of the ECS cluster, DB instance, cache nodes and
        secret links table.
    rotation_function, dead_letter_queue: Names of the rotation function and its dead-letter queue.
    functions: REST API stages of services that run as Lambda functions, keyed by service.
    nat_gateways: IDs of the NAT gateways, keyed by zone.
    replication: Names of the data bucket and of its replica, and ID of the replication rule; empty
        without replication.
    """

    load_balancers: Mapping[str, Text]
    target_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    ecs_services: tuple[str, ...]
    cluster: Text
    database: Text
    cache_nodes: tuple[str, ...]
    table: Text
    rotation_function: str
    dead_letter_queue: str
    functions: Mapping[str, str] = field(default_factory=dict)
    nat_gateways: Mapping[str, Text] = field(default_factory=dict)
    replication: tuple[str, ...] = ()

    @property
    def services(self) -> tuple[str, ...]:
        """The services, beginning with those behind the load balancer."""
        return (*self.target_groups, *self.functions)


def dashboard_body(
    names: Naming, resources: MonitoredResources, runbooks_url: str, *, probe: bool
) -> dict[str, Any]:
    """Return the dashboard document: alarm states first, then services, then saturation and
    maintenance.

    probe: True if the stack has a synthetic probe.
    """
    graphs: tuple[Iterator[Widget], ...] = (
        *(_load_balanced_service(names, service, resources) for service in resources.target_groups),
        *([_synthetic_probe(names, resources)] if probe else ()),
        _key_usage(names),
        *(_function(names, service, stage) for service, stage in resources.functions.items()),
        _gateway_logs(names),
        _secret_links(names),
        _ecs_services(names, resources),
        _stores(names, resources),
        _maintenance(names, resources),
    )
    rows = [(3, [_heading(names, runbooks_url)]), (4, [_alarm_states(names, resources, probe)])]
    rows += [(6, list(row)) for row in graphs]
    return {"start": "-PT3H", "periodOverride": "inherit", "widgets": list(_placed(rows))}


def _placed(rows: list[tuple[int, list[Widget]]]) -> Iterator[Widget]:
    """Stack the rows, and divide the width of a row evenly between its widgets."""
    top = 0
    for height, widgets in rows:
        width = COLUMNS // len(widgets)
        for index, widget in enumerate(widgets):
            yield {**widget, "x": index * width, "y": top, "width": width, "height": height}
        top += height


def _heading(names: Naming, runbooks_url: str) -> Widget:
    text = (
        f"# Gatehouse {names.stack}\n"
        "Alarms in state ALARM have notified the operators. Sections: services, API key usage, "
        f"secret links, saturation, maintenance. [Runbooks]({runbooks_url})"
    )
    return {"type": "text", "properties": {"markdown": text}}


def _alarm_states(names: Naming, resources: MonitoredResources, probe: bool) -> Widget:
    alarms = [
        *resources.target_groups,
        *([f"{service}-unreachable" for service in resources.services] if probe else ()),
        *resources.functions,
        *(f"{name}-5xx" for name in resources.load_balancers),
        *(
            "database-cpu",
            "database-storage",
            "tokens-errors",
            "certificate-expiry",
            "rotation-errors",
        ),
        *(DENIED_LINKS, LOCKED_LINKS, SECRET_FAILURES, LATE_SECRETS),
    ]
    arns = [names.arn("cloudwatch", f"alarm:{names.name(alarm)}") for alarm in alarms]
    return {"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}}


def _load_balanced_service(
    names: Naming, service: str, resources: MonitoredResources
) -> Iterator[Widget]:
    def series(*metrics: tuple[str, str, str]) -> list[list[Any]]:
        return [
            _series(
                (
                    "AWS/ApplicationELB",
                    metric,
                    *(text for dimension in group.items() for text in dimension),
                ),
                f"{label} ({color})",
                stat,
            )
            for metric, stat, label in metrics
            for group, color in zip(
                resources.target_groups[service], ("blue", "green"), strict=False
            )
        ]

    errors = series(
        ("HTTPCode_Target_5XX_Count", "Sum", "5xx"), ("HTTPCode_Target_4XX_Count", "Sum", "4xx")
    )
    latency = series(("TargetResponseTime", "p50", "p50"), ("TargetResponseTime", "p99", "p99"))
    yield _graph(
        names,
        f"{service}: requests per minute",
        series(("RequestCount", "Sum", "requests")),
        stacked=True,
    )
    yield _graph(names, f"{service}: errors per minute", errors)
    yield _graph(names, f"{service}: latency in seconds", latency)


def _synthetic_probe(names: Naming, resources: MonitoredResources) -> Iterator[Widget]:
    for metric, stat, title, maximum in (
        ("ServiceUp", "Minimum", "Synthetic probe: availability (1 is up)", 1),
        ("ResponseSeconds", "Maximum", "Synthetic probe: response time in seconds", None),
    ):
        series = [
            _series((names.namespace, metric, "Service", name), name, stat)
            for name in resources.services
        ]
        yield _graph(names, title, series, maximum=maximum)


def _function(names: Naming, service: str, stage: str) -> Iterator[Widget]:
    def api(metric: str, stat: str, label: str) -> list[Any]:
        return _series(
            ("AWS/ApiGateway", metric, "ApiName", names.name(service), "Stage", stage), label, stat
        )

    def function(metric: str, stat: str, label: str) -> list[Any]:
        return _series(("AWS/Lambda", metric, "FunctionName", names.name(service)), label, stat)

    concurrency = [
        function("ConcurrentExecutions", "Maximum", "concurrent"),
        function("Throttles", "Sum", "throttled"),
    ]
    yield _graph(
        names, f"{service}: requests per minute", [api("Count", "Sum", "requests")], stacked=True
    )
    yield _graph(
        names,
        f"{service}: errors per minute",
        [api("5XXError", "Sum", "5xx"), api("4XXError", "Sum", "4xx")],
    )
    yield _graph(
        names,
        f"{service}: latency in ms",
        [api("Latency", "p50", "p50"), api("Latency", "p99", "p99")],
    )
    yield _graph(names, f"{service}: concurrency", concurrency)


def _key_usage(names: Naming) -> Iterator[Widget]:
    """Metrics that the gateway publishes in embedded metric format."""
    for title, dimension, metric in (
        ("Key verifications per minute, by code", "Code", "KeyDecisions"),
        ("Requests per minute, by Core", "Core", "CoreRequests"),
    ):
        expression = (
            f"SEARCH('{{{names.namespace},{dimension}}} MetricName=\"{metric}\"', 'Sum', 60)"
        )
        yield _graph(
            names,
            title,
            [[{"expression": expression, "label": "", "id": metric.lower()}]],
            stacked=True,
        )


def _gateway_logs(names: Naming) -> Iterator[Widget]:
    for title, view, query in (
        (
            "Denied requests by code",
            "bar",
            'filter event = "request" and code != "VALID" | stats count(*) as requests by code',
        ),
        ("Errors of the gateway", "table", 'filter level = "error" | sort ts desc | limit 20'),
    ):
        source = f"SOURCE '{names.log_group('gateway')}' | {query}"
        yield {
            "type": "log",
            "properties": {"title": title, "region": names.region, "view": view, "query": source},
        }


def _secret_links(names: Naming) -> Iterator[Widget]:
    """Metrics from the metric filters for the logs of the sharing service and the console."""

    def series(metric: str, label: str, stat: str) -> list[Any]:
        return _series((names.namespace, metric), label, stat)

    denied = [
        series(DENIED_LINKS, "denied", "Sum"),
        series(LOCKED_LINKS, "too many wrong passphrases", "Sum"),
    ]
    yield _graph(names, "Secret links: denied requests per minute", denied)
    yield _graph(
        names,
        "Secrets: delay of the oldest due deletion in seconds",
        [series(LATE_SECRETS, "oldest", "Maximum")],
    )
    yield _graph(
        names,
        "Secrets: failed background jobs per minute",
        [series(SECRET_FAILURES, "failures", "Sum")],
    )


def _ecs_services(names: Naming, resources: MonitoredResources) -> Iterator[Widget]:
    for kind in ("CPU", "Memory"):
        metric = ("AWS/ECS", f"{kind}Utilization", "ClusterName", resources.cluster, "ServiceName")
        series = [
            _series((*metric, names.name(service)), service) for service in resources.ecs_services
        ]
        yield _graph(names, f"{kind} of ECS services in percent", series, maximum=100)


def _stores(names: Naming, resources: MonitoredResources) -> Iterator[Widget]:
    cpu, connections = (
        _series(("AWS/RDS", metric, "DBInstanceIdentifier", resources.database), label)
        for metric, label in (("CPUUtilization", "CPU"), ("DatabaseConnections", "connections"))
    )
    nodes = [
        _series(("AWS/ElastiCache", "EngineCPUUtilization", "CacheClusterId", node), node)
        for node in resources.cache_nodes
    ]
    yield _graph(names, "Database: CPU in percent", [cpu], maximum=100)
    yield _graph(names, "Database: connections", [connections])
    yield _graph(names, "Cache: CPU in percent", nodes, maximum=100)


def _maintenance(names: Naming, resources: MonitoredResources) -> Iterator[Widget]:
    throttles = [
        _series(
            ("AWS/DynamoDB", f"{kind}ThrottleEvents", "TableName", resources.table),
            f"{kind.lower()}s",
            "Sum",
        )
        for kind in ("Read", "Write")
    ]
    invocations = [
        _series(
            ("AWS/Lambda", metric, "FunctionName", resources.rotation_function),
            metric.lower(),
            "Sum",
        )
        for metric in ("Invocations", "Errors")
    ]
    dead_letters = (
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "QueueName",
        resources.dead_letter_queue,
    )
    yield _graph(names, "Secret links table: throttled requests per minute", throttles)
    yield _graph(names, "Secret rotation: invocations per minute", invocations)
    yield _graph(
        names, "Secret rotation: dead-letter queue", [_series(dead_letters, "messages", "Maximum")]
    )


def _series(metric: Sequence[Text], label: str, stat: str = "") -> list[Any]:
    """Return a series for a graph. `metric`: namespace, metric name, and the name and value of each
    dimension.
    """
    return [*metric, {"stat": stat, "label": label} if stat else {"label": label}]


def _graph(
    names: Naming,
    title: str,
    metrics: list[list[Any]],
    *,
    maximum: int | None = None,
    stacked: bool = False,
) -> Widget:
    axis: dict[str, Any] = {"left": {"min": 0, **({"max": maximum} if maximum else {})}}
    properties = {
        "title": title,
        "region": names.region,
        "view": "timeSeries",
        "period": 60,
        "metrics": metrics,
        "yAxis": axis,
    }
    return {"type": "metric", "properties": {**properties, "stacked": stacked}}
