"""The CloudWatch dashboard of a stack."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.context import Stack
from components.iam.sharing_roles import STAGE
from components.monitoring.cloudwatch_alarm import (
    LAMBDA,
    LOAD_BALANCER,
    OVER,
    REST_API,
    Alarm,
    CompositeAlarm,
    Expression,
    Metric,
    MonitoredResources,
    Text,
)
from components.naming import PAGES

COLUMNS, WIDGETS_IN_ROW = 24, 3
"""Width of the CloudWatch dashboard grid, and number of graphs of alarms next to each other."""

Widget = dict[str, Any]
Series = list[Any]


def dashboard_body(
    stack: Stack,
    resources: MonitoredResources,
    alarms: Sequence[Alarm],
    composites: Sequence[CompositeAlarm],
) -> dict[str, Any]:
    """Return the dashboard document: the states and metrics of the alarms that page, then traffic,
    then the metrics of all other alarms, by runbook.
    """
    dashboard = _Dashboard(stack, resources, {alarm.name: alarm for alarm in alarms}, composites)
    return {
        "start": "-PT3H",
        "periodOverride": "inherit",
        "widgets": list(_placed(dashboard.rows())),
    }


def _placed(rows: Iterator[tuple[int, list[Widget]]]) -> Iterator[Widget]:
    """Stack the rows, and divide the width of a row evenly between its widgets."""
    top = 0
    for height, widgets in rows:
        width = COLUMNS // len(widgets)
        for index, widget in enumerate(widgets):
            yield {**widget, "x": index * width, "y": top, "width": width, "height": height}
        top += height


@dataclass(frozen=True)
class _Dashboard:
    stack: Stack
    resources: MonitoredResources
    alarms: Mapping[str, Alarm]
    composites: Sequence[CompositeAlarm]

    def rows(self) -> Iterator[tuple[int, list[Widget]]]:
        graphs = self._alarm_graphs()
        pages = [graph for names, graph in graphs if self._paging & set(names)]
        others = [graph for names, graph in graphs if not self._paging & set(names)]
        yield 2, [self._heading()]
        yield 4, [self._alarm_states()]
        yield from _graph_rows(pages)
        for service in self.resources.target_groups:
            yield 6, list(self._load_balanced_service(service))
        for function in self.stack.contract.functions.values():
            yield 6, list(self._function(function.service.name))
        yield 6, list(self._key_usage())
        yield 6, list(self._gateway_logs())
        yield from _graph_rows(others)

    @property
    def _paging(self) -> set[str]:
        """The alarms that page, and those in the rules of composite alarms that do."""
        names = {name for name, alarm in self.alarms.items() if alarm.severity == PAGES}
        for composite in self.composites:
            if composite.severity == PAGES:
                names.update(name for row in composite.any_of for name in row)
        return names

    def _heading(self) -> Widget:
        text = (
            f"# Gatehouse {self.stack.names.stack}\n"
            "Pages and their metrics with thresholds (grey: deployments in progress, right axis), "
            "traffic, then the metrics of all other alarms. "
            f"[Runbooks]({self.stack.settings.monitoring.runbooks_url})"
        )
        return {"type": "text", "properties": {"markdown": text}}

    def _alarm_states(self) -> Widget:
        names = self.stack.names
        defined: list[Alarm | CompositeAlarm] = [*self.composites, *self.alarms.values()]
        alarms = [alarm.name for alarm in defined if alarm.severity == PAGES]
        arns = [names.arn("cloudwatch", f"alarm:{names.name(alarm)}") for alarm in alarms]
        return {"type": "alarm", "properties": {"title": "Pages", "alarms": arns}}

    def _alarm_graphs(self) -> list[tuple[list[str], Widget]]:
        """Return the names of alarms and their graph. Alarms with the same runbook and unit are in
        one graph: those on one metric of several resources, and the windows of a burn rate.
        """
        groups: dict[tuple[object, ...], list[Alarm]] = defaultdict(list)
        for alarm in self.alarms.values():
            metric = alarm.metric
            if isinstance(metric, Expression):
                first = next(iter(metric.metrics.values()))
                kind: object = (first.name, first.dimensions.get("Service"))
            else:
                is_counted = metric.dimensions == {}  # by a metric filter
                kind = is_counted or (metric.namespace, metric.name)
            groups[alarm.runbook, kind, alarm.name in self._paging].append(alarm)
        return [
            ([alarm.name for alarm in rows], self._alarm_graph(rows)) for rows in groups.values()
        ]

    def _alarm_graph(self, alarms: Sequence[Alarm]) -> Widget:
        series = [row for index, alarm in enumerate(alarms) for row in _alarm_series(alarm, index)]
        names = [alarm.name for alarm in alarms]
        title = names[0] if len(names) == 1 else f"{alarms[0].runbook}: {', '.join(names)}"
        conditions = [(alarm.condition, alarm.name) for alarm in alarms]
        thresholds = {(row.threshold, row.comparison): name for row, name in conditions}
        lines = [
            {"label": f"{'above' if comparison == OVER else 'below'}: {name}", "value": threshold}
            for (threshold, comparison), name in thresholds.items()
        ]
        graph = self._graph(title, [*series, *self._deployments()])
        graph["properties"] |= {"annotations": {"horizontal": lines}}
        return graph

    def _deployments(self) -> Iterator[Series]:
        """Yield the number of deployments of each service: two while one is in progress (CloudWatch
        User Guide, "Amazon ECS Container Insights metrics", read 2026-11-29).
        """
        names, cluster = self.stack.names, self.resources.cluster
        if self.stack.settings.telemetry.insights == "disabled":
            return
        for service in self.stack.contract.ecs_services:
            metric = ("ECS/ContainerInsights", "DeploymentCount", "ClusterName", cluster)
            series = _series((*metric, "ServiceName", names.name(service)), service, "Maximum")
            series[-1] |= {"yAxis": "right", "color": "#aaaaaa", "label": f"deployments {service}"}
            yield series

    def _load_balanced_service(self, service: str) -> Iterator[Widget]:
        def series(*metrics: tuple[str, str, str]) -> list[Series]:
            groups = zip(self.resources.target_groups[service], ("blue", "green"), strict=True)
            colored = [
                ([text for dimension in group.items() for text in dimension], color)
                for group, color in groups
            ]
            return [
                _series((LOAD_BALANCER, metric, *dimensions), f"{label} ({color})", stat)
                for metric, stat, label in metrics
                for dimensions, color in colored
            ]

        requests = series(("RequestCount", "Sum", "requests"))
        errors = series(
            ("HTTPCode_Target_5XX_Count", "Sum", "5xx"), ("HTTPCode_Target_4XX_Count", "Sum", "4xx")
        )
        latency = series(("TargetResponseTime", "p50", "p50"), ("TargetResponseTime", "p99", "p99"))
        yield self._graph(f"{service}: requests per minute", requests, stacked=True)
        yield self._graph(f"{service}: errors per minute, also of Cores", errors)
        yield self._graph(f"{service}: latency in seconds, also of Cores", latency)

    def _function(self, service: str) -> Iterator[Widget]:
        name = self.stack.names.name(service)

        def api(metric: str, stat: str, label: str) -> Series:
            return _series((REST_API, metric, "ApiName", name, "Stage", STAGE), label, stat)

        def function(metric: str, stat: str, label: str) -> Series:
            return _series((LAMBDA, metric, "FunctionName", name), label, stat)

        requests = [api("Count", "Sum", "requests")]
        errors = [api("5XXError", "Sum", "5xx"), api("4XXError", "Sum", "4xx")]
        latency = [api("Latency", "p50", "p50"), api("Latency", "p99", "p99")]
        concurrency = [
            function("ConcurrentExecutions", "Maximum", "concurrent"),
            function("Throttles", "Sum", "throttled"),
        ]
        yield self._graph(f"{service}: requests per minute", requests, stacked=True)
        yield self._graph(f"{service}: errors per minute", errors)
        yield self._graph(f"{service}: latency in ms", latency)
        yield self._graph(f"{service}: concurrency", concurrency)

    def _key_usage(self) -> Iterator[Widget]:
        namespace = self.stack.names.namespace
        for title, dimension, metric in (
            ("Key verifications per minute, by code", "Code", "KeyDecisions"),
            ("Requests per minute, by Core", "Core", "CoreRequests"),
        ):
            search = f"SEARCH('{{{namespace},{dimension}}} MetricName=\"{metric}\"', 'Sum', 60)"
            series = [{"expression": search, "label": "", "id": metric.lower()}]
            yield self._graph(title, [series], stacked=True)

    def _gateway_logs(self) -> Iterator[Widget]:
        names = self.stack.names
        denied = 'filter event = "request" and code != "VALID" | stats count(*) as requests by code'
        cores = (
            'filter event = "request" and path like "/cores/" | parse path "/cores/*/" as core | '
            "stats count(*) as requests, sum(floor(status / 500)) as errors, pct(ms, 50) as p50, "
            "pct(ms, 99) as p99 by core | sort errors desc"
        )
        errors = 'filter level = "error" | sort ts desc | limit 20'
        for title, view, query in (
            ("Cores: requests, errors, latency in ms", "table", cores),
            ("Denied requests by code", "bar", denied),
            ("Errors of the gateway", "table", errors),
        ):
            source = f"SOURCE '{names.log_group('gateway')}' | {query}"
            properties = {"title": title, "region": names.region, "view": view, "query": source}
            yield {"type": "log", "properties": properties}

    def _graph(self, title: str, metrics: Sequence[Series], *, stacked: bool = False) -> Widget:
        properties = {
            "title": title,
            "region": self.stack.names.region,
            "view": "timeSeries",
            "period": 60,
            "metrics": list(metrics),
            "yAxis": {"left": {"min": 0}},
            "stacked": stacked,
        }
        return {"type": "metric", "properties": properties}


def _series(metric: Sequence[Text], label: str, stat: str = "") -> Series:
    """Return a series for a graph. `metric`: namespace, metric name, and the name and value of each
    dimension.
    """
    return [*metric, {"stat": stat, "label": label} if stat else {"label": label}]


def _graph_rows(graphs: Sequence[Widget]) -> Iterator[tuple[int, list[Widget]]]:
    for start in range(0, len(graphs), WIDGETS_IN_ROW):
        yield 6, list(graphs[start : start + WIDGETS_IN_ROW])


def _alarm_series(alarm: Alarm, index: int) -> Iterator[Series]:
    """Yield the series of an alarm's metric or expression. `index` makes the IDs unique."""
    metric, period = alarm.metric, alarm.condition.evaluation[0]

    def series(source: Metric, **options: Any) -> Series:
        dimensions = [text for dimension in source.dimensions.items() for text in dimension]
        options |= {"stat": source.statistic, "period": period}
        return [source.namespace, source.name, *dimensions, options]

    if isinstance(metric, Metric):
        yield series(metric, label=alarm.name)
        return
    ids = {query: f"{query}{index}" for query in metric.metrics}
    text = re.sub(r"\b[a-z]+\b", lambda word: ids.get(word[0], word[0]), metric.text)
    yield [{"expression": text, "id": f"alarm{index}", "label": alarm.name, "period": period}]
    for query, source in metric.metrics.items():
        yield series(source, id=ids[query], visible=False)
