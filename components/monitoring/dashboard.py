"""The CloudWatch dashboard of a stack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.context import Stack
from components.iam.role_policies import CANARY_KEY, ROTATION_FUNCTION
from components.iam.sharing_roles import STAGE
from components.monitoring.log_alarms import DENIED_LINKS, LOCKED_LINKS, SECRET_FAILURES
from components.monitoring.metric_alarms import (
    BUDGETS,
    BURN_RATES,
    LAMBDA,
    LOAD_BALANCER,
    REST_API,
    MonitoredResources,
    Text,
)

COLUMNS = 24
"""Width of the CloudWatch dashboard grid."""

Widget = dict[str, Any]
Series = list[Any]


def dashboard_body(stack: Stack, resources: MonitoredResources) -> dict[str, Any]:
    """Return the dashboard document: alarm states first, then services, then saturation and
    maintenance.
    """
    dashboard = _Dashboard(stack, resources)
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

    def rows(self) -> Iterator[tuple[int, list[Widget]]]:
        yield 3, [self._heading()]
        yield 4, [self._alarm_states()]
        rows = [self._load_balanced_service(service) for service in self.resources.target_groups]
        if self._has_probe:
            rows.append(self._synthetic_probe())
        rows.append(self._key_usage())
        rows += [self._function(service) for service in self._functions]
        rows += [self._gateway_logs(), self._secret_links(), self._ecs_services()]
        rows += [self._stores(), self._maintenance()]
        for row in rows:
            yield 6, list(row)

    @property
    def _functions(self) -> list[str]:
        return [function.service.name for function in self.stack.contract.functions.values()]

    @property
    def _services(self) -> list[str]:
        return [*self.resources.target_groups, *self._functions]

    @property
    def _has_probe(self) -> bool:
        return self.stack.settings.monitoring.probe

    def _heading(self) -> Widget:
        runbooks = self.stack.settings.monitoring.runbooks_url
        text = (
            f"# Gatehouse {self.stack.names.stack}\n"
            "Alarms in state ALARM have notified the operators. Sections: services, API key usage, "
            f"secret links, saturation, maintenance. [Runbooks]({runbooks})"
        )
        return {"type": "text", "properties": {"markdown": text}}

    def _alarm_states(self) -> Widget:
        names = self.stack.names
        alarms = [
            *(
                f"{service}-{objective}-{window}"
                for service in self._services
                for objective in BUDGETS
                for window in BURN_RATES
            ),
            *([f"{service}-unreachable" for service in self._services] if self._has_probe else ()),
            *([CANARY_KEY] if self._has_probe else ()),
            "core-errors",
            *(f"{name}-5xx" for name in self.resources.load_balancers),
            *("database-cpu", "database-storage", "table-throttled"),
            *("certificate-expiry", f"{ROTATION_FUNCTION}-errors"),
            *("key-state-stale", "audit-chain-broken", "checkpoints-late", "requests-blocked"),
            *(DENIED_LINKS, LOCKED_LINKS, SECRET_FAILURES, "secrets-late"),
        ]
        arns = [names.arn("cloudwatch", f"alarm:{names.name(alarm)}") for alarm in alarms]
        return {"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}}

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
        yield self._graph(f"{service}: errors per minute", errors)
        yield self._graph(f"{service}: latency in seconds", latency)

    def _synthetic_probe(self) -> Iterator[Widget]:
        namespace = self.stack.names.namespace
        canary = _series((namespace, "CanaryKeyUp", "Service", "gateway"), CANARY_KEY, "Minimum")
        for metric, stat, title, maximum, more in (
            ("ServiceUp", "Minimum", "Synthetic probe: availability (1 is up)", 1, [canary]),
            ("ResponseSeconds", "Maximum", "Synthetic probe: response time in seconds", None, []),
        ):
            series = [
                _series((namespace, metric, "Service", name), name, stat) for name in self._services
            ]
            yield self._graph(title, [*series, *more], maximum=maximum)

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
        tasks = ("new", "other")
        errors = [
            _series((namespace, "CoreErrors", "Service", "gateway", "Tasks", kind), kind, "Sum")
            for kind in tasks
        ]
        yield self._graph("Failed requests to Cores per minute, by age of the tasks", errors)

    def _gateway_logs(self) -> Iterator[Widget]:
        names = self.stack.names
        denied = 'filter event = "request" and code != "VALID" | stats count(*) as requests by code'
        errors = 'filter level = "error" | sort ts desc | limit 20'
        for title, view, query in (
            ("Denied requests by code", "bar", denied),
            ("Errors of the gateway", "table", errors),
        ):
            source = f"SOURCE '{names.log_group('gateway')}' | {query}"
            properties = {"title": title, "region": names.region, "view": view, "query": source}
            yield {"type": "log", "properties": properties}

    def _secret_links(self) -> Iterator[Widget]:
        """Metrics from the metric filters for the logs of the sharing service and the console."""

        def series(metric: str, label: str, stat: str) -> Series:
            return _series((self.stack.names.namespace, metric), label, stat)

        denied = [
            series(DENIED_LINKS, "denied", "Sum"),
            series(LOCKED_LINKS, "too many wrong passphrases", "Sum"),
        ]
        due = (self.stack.names.namespace, "DueSecretsSeconds", "Service", "console")
        late = [_series(due, "oldest", "Maximum")]
        failures = [series(SECRET_FAILURES, "failures", "Sum")]
        yield self._graph("Secret links: denied requests per minute", denied)
        yield self._graph("Secrets: delay of the oldest due deletion in seconds", late)
        yield self._graph("Secrets: failed background jobs per minute", failures)

    def _ecs_services(self) -> Iterator[Widget]:
        names, cluster = self.stack.names, ("ClusterName", self.resources.cluster)
        for kind in ("CPU", "Memory"):
            metric = ("AWS/ECS", f"{kind}Utilization", *cluster, "ServiceName")
            series = [
                _series((*metric, names.name(service)), service)
                for service in self.stack.contract.ecs_services
            ]
            yield self._graph(f"{kind} of ECS services in percent", series, maximum=100)

    def _stores(self) -> Iterator[Widget]:
        cpu, connections = (
            _series(("AWS/RDS", metric, "DBInstanceIdentifier", self.resources.database), label)
            for metric, label in (("CPUUtilization", "CPU"), ("DatabaseConnections", "connections"))
        )
        nodes = [
            _series(("AWS/ElastiCache", "EngineCPUUtilization", "CacheClusterId", node), node)
            for node in self.stack.names.cache_nodes(1 + self.stack.settings.cache.replicas)
        ]
        yield self._graph("Database: CPU in percent", [cpu], maximum=100)
        yield self._graph("Database: connections", [connections])
        yield self._graph("Cache: CPU in percent", nodes, maximum=100)

    def _maintenance(self) -> Iterator[Widget]:
        names, table = self.stack.names, ("TableName", self.resources.table)
        function = ("FunctionName", names.name(ROTATION_FUNCTION))
        queue = ("QueueName", names.dead_letter_queue(ROTATION_FUNCTION))
        throttles = [
            _series(("AWS/DynamoDB", f"{kind}ThrottleEvents", *table), f"{kind.lower()}s", "Sum")
            for kind in ("Read", "Write")
        ]
        invocations = [
            _series((LAMBDA, metric, *function), metric.lower(), "Sum")
            for metric in ("Invocations", "Errors")
        ]
        messages = ("AWS/SQS", "ApproximateNumberOfMessagesVisible", *queue)
        dead_letters = [_series(messages, "messages", "Maximum")]
        yield self._graph("Secret links table: throttled requests per minute", throttles)
        yield self._graph("Secret rotation: invocations per minute", invocations)
        yield self._graph("Secret rotation: dead-letter queue", dead_letters)

    def _graph(
        self,
        title: str,
        metrics: Sequence[Series],
        *,
        maximum: int | None = None,
        stacked: bool = False,
    ) -> Widget:
        properties = {
            "title": title,
            "region": self.stack.names.region,
            "view": "timeSeries",
            "period": 60,
            "metrics": list(metrics),
            "yAxis": {"left": {"min": 0, **({"max": maximum} if maximum else {})}},
            "stacked": stacked,
        }
        return {"type": "metric", "properties": properties}


def _series(metric: Sequence[Text], label: str, stat: str = "") -> Series:
    """Return a series for a graph. `metric`: namespace, metric name, and the name and value of each
    dimension.
    """
    return [*metric, {"stat": stat, "label": label} if stat else {"label": label}]
