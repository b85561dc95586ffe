"""The one dashboard of an environment, as the document CloudWatch takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.naming import Naming

WIDTH = 24
"""CloudWatch divides the screen into 24 columns."""

Text = pulumi.Input[str]
Widget = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the dashboard shows: the load balancer, the labels of each service's target groups, names of services, cluster,
    database, cache nodes, tokens table, rotation function and queue of its failed calls, where the runbooks are, and the
    services that functions serve with the stages of their APIs."""

    balancer: Text
    target_groups: Mapping[str, tuple[Text, ...]]
    services: tuple[str, ...]
    cluster: Text
    database: Text
    cache_nodes: tuple[str, ...]
    tokens: Text
    rotator: str
    failed: str
    runbooks_url: str
    probed: str = ""
    """Where the probe keeps what it measures, "" when nobody asks from outside."""
    functions: Mapping[str, str] = field(default_factory=dict)


def body(names: Naming, shown: Shown) -> dict[str, Any]:
    """The document, from top to bottom as a person asks: is anything wrong, whom does it hurt, and what is full."""
    rows = [
        _row(3, _heading(names, shown)),
        _row(4, _states(names, shown)),
        *(_row(6, *_service(names, service, shown)) for service in shown.target_groups),
        *([_row(6, *_outside(names, shown))] if shown.probed else ()),
        _row(6, *_use(names)),
        *(_row(6, *_function(names, service, stage)) for service, stage in shown.functions.items()),
        _row(6, *_refusals(names)),
        _row(6, *_saturation(names, shown)),
        _row(6, *_stores(names, shown)),
        _row(6, *_upkeep(names, shown)),
    ]
    return {"start": "-PT3H", "periodOverride": "inherit", "widgets": list(_placed(rows))}


def _row(height: int, *widgets: Widget) -> tuple[int, tuple[Widget, ...]]:
    return height, widgets


def _placed(rows: list[tuple[int, tuple[Widget, ...]]]) -> Iterator[Widget]:
    """Rows below each other, the widgets of a row side by side and equally wide."""
    top = 0
    for height, widgets in rows:
        width = WIDTH // len(widgets)
        for index, widget in enumerate(widgets):
            yield {**widget, "x": index * width, "y": top, "width": width, "height": height}
        top += height


def _heading(names: Naming, shown: Shown) -> Widget:
    text = (
        f"# Gatehouse {names.environment}\n"
        "Red below: somebody is told already. Doors first, then keys that were refused, then what is full. "
        f"[Runbooks]({shown.runbooks_url})"
    )
    return {"type": "text", "properties": {"markdown": text}}


def _states(names: Naming, shown: Shown) -> Widget:
    outside = [f"{service}-unreachable" for service in (*shown.target_groups, *shown.functions)] if shown.probed else []
    alarms = [
        *shown.target_groups,
        *outside,
        *shown.functions,
        "edge-5xx",
        "database-cpu",
        "database-storage",
        "tokens-errors",
        "certificate-expiry",
        "rotation-errors",
    ]
    arns = [names.arn("cloudwatch", f"alarm:{names.name(alarm)}") for alarm in alarms]
    return {"type": "alarm", "properties": {"title": "Is anything wrong?", "alarms": arns}}


def _service(names: Naming, service: str, shown: Shown) -> Iterator[Widget]:
    def both(metric: str, stat: str, label: str) -> list[list[Any]]:
        where = [("LoadBalancer", shown.balancer, "TargetGroup", group) for group in shown.target_groups[service]]
        return [
            ["AWS/ApplicationELB", metric, *one, {"stat": stat, "label": f"{label} ({colour})"}]
            for one, colour in zip(where, ("blue", "green"), strict=False)
        ]

    yield _graph(names, f"{service}: requests a minute", both("RequestCount", "Sum", "requests"), stacked=True)
    yield _graph(
        names,
        f"{service}: errors a minute",
        [*both("HTTPCode_Target_5XX_Count", "Sum", "5xx"), *both("HTTPCode_Target_4XX_Count", "Sum", "4xx")],
    )
    yield _graph(
        names,
        f"{service}: seconds to answer",
        [*both("TargetResponseTime", "p50", "half"), *both("TargetResponseTime", "p99", "99 of 100")],
    )


def _outside(names: Naming, shown: Shown) -> Iterator[Widget]:
    for metric, stat, title in (
        ("ServiceUp", "Minimum", "From outside: does each service answer? 1 is yes"),
        ("ResponseSeconds", "Maximum", "From outside: seconds to answer"),
    ):
        services = (*shown.target_groups, *shown.functions)
        lines = [[shown.probed, metric, "Service", service, {"stat": stat, "label": service}] for service in services]
        yield _graph(names, title, lines, top=1 if metric == "ServiceUp" else None)


def _function(names: Naming, service: str, stage: str) -> Iterator[Widget]:
    """The same of a service that a function serves, and how near the function is to its bound."""

    def api(metric: str, stat: str, label: str) -> list[Any]:
        return ["AWS/ApiGateway", metric, "ApiName", names.name(service), "Stage", stage, {"stat": stat, "label": label}]

    def function(metric: str, stat: str, label: str) -> list[Any]:
        return ["AWS/Lambda", metric, "FunctionName", names.name(service), {"stat": stat, "label": label}]

    yield _graph(names, f"{service}: requests a minute", [api("Count", "Sum", "requests")], stacked=True)
    yield _graph(names, f"{service}: errors a minute", [api("5XXError", "Sum", "5xx"), api("4XXError", "Sum", "4xx")])
    yield _graph(names, f"{service}: milliseconds to answer", [api("Latency", "p50", "half"), api("Latency", "p99", "99 of 100")])
    yield _graph(
        names,
        f"{service}: calls at a time",
        [function("ConcurrentExecutions", "Maximum", "at a time"), function("Throttles", "Sum", "refused")],
    )


def _refusals(names: Naming) -> Iterator[Widget]:
    group = names.log_group("gateway")
    refused = 'filter event = "request" and code != "VALID" | stats count(*) as requests by code'
    yield _log(names, "Refused keys by reason", group, refused)
    yield _log(names, "Errors of the gateway", group, 'filter level = "error" | sort ts desc | limit 20', view="table")


def _use(names: Naming) -> Iterator[Widget]:
    """The use of keys, from the metrics that the gateway's log lines carry (runtime/gatehouse/usage/cloudwatch.py)."""

    def every(dimension: str, metric: str) -> list[list[Any]]:
        search = f"SEARCH('{{{names.namespace},{dimension}}} MetricName=\"{metric}\"', 'Sum', 60)"
        return [[{"expression": search, "label": "", "id": metric.lower()}]]

    yield _graph(names, "Use of keys a minute, by outcome", every("Code", "KeyDecisions"), stacked=True)
    yield _graph(names, "Requests a minute, by Core", every("Core", "CoreRequests"), stacked=True)
    yield _graph(names, "Unusual use of keys", every("Kind", "UnusualUse"), stacked=True)


def _saturation(names: Naming, shown: Shown) -> Iterator[Widget]:
    for metric, title in (("CPUUtilization", "CPU of services, percent"), ("MemoryUtilization", "Memory of services, percent")):
        lines = [
            ["AWS/ECS", metric, "ClusterName", shown.cluster, "ServiceName", names.name(service), {"label": service}]
            for service in shown.services
        ]
        yield _graph(names, title, lines, top=100)


def _stores(names: Naming, shown: Shown) -> Iterator[Widget]:
    def database(metric: str, label: str) -> list[Any]:
        return ["AWS/RDS", metric, "DBInstanceIdentifier", shown.database, {"label": label}]

    yield _graph(names, "Database: CPU, percent", [database("CPUUtilization", "CPU")], top=100)
    yield _graph(names, "Database: connections", [database("DatabaseConnections", "connections")])
    nodes = [["AWS/ElastiCache", "EngineCPUUtilization", "CacheClusterId", node, {"label": node}] for node in shown.cache_nodes]
    yield _graph(names, "Cache: CPU, percent", nodes, top=100)


def _upkeep(names: Naming, shown: Shown) -> Iterator[Widget]:
    table = ["AWS/DynamoDB", "ReadThrottleEvents", "TableName", shown.tokens, {"stat": "Sum", "label": "reads"}]
    writes = ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", shown.tokens, {"stat": "Sum", "label": "writes"}]
    yield _graph(names, "Tokens table: refused a minute", [table, writes])
    calls = [
        ["AWS/Lambda", metric, "FunctionName", shown.rotator, {"stat": "Sum", "label": label}]
        for metric, label in (("Invocations", "calls"), ("Errors", "failed"))
    ]
    yield _graph(names, "Rotation of secrets: calls a minute", calls)
    waiting = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", shown.failed, {"stat": "Maximum", "label": "calls"}]
    yield _graph(names, "Rotation of secrets: given up", [waiting])


def _graph(names: Naming, title: str, metrics: list[list[Any]], *, top: int | None = None, stacked: bool = False) -> Widget:
    axis: dict[str, Any] = {"left": {"min": 0, **({"max": top} if top else {})}}
    properties = {"title": title, "region": names.region, "view": "timeSeries", "period": 60, "metrics": metrics, "yAxis": axis}
    return {"type": "metric", "properties": {**properties, "stacked": stacked}}


def _log(names: Naming, title: str, group: str, query: str, view: str = "bar") -> Widget:
    text = f"SOURCE '{group}' | {query}"
    return {"type": "log", "properties": {"title": title, "region": names.region, "view": view, "query": text}}
