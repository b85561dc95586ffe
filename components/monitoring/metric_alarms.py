"""Defines the alarms of a stack and creates a CloudWatch alarm from each definition."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import tables
from components.component import TargetGroupDimensions, Topics
from components.context import Stack
from components.iam.role_policies import CANARY_KEY, ROTATION_FUNCTION
from components.iam.sharing_roles import STAGE
from components.naming import NOTICES, PAGES, REPLICATION_RULE, TICKETS, Naming, tags

GIB = 1024**3
LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
ONCE = (300, 1, 1)
ROWS = tables.read(__file__)
DATABASE_PRESENT = f"FILL(database, 0) < {ROWS['numbers']['database_present_s']}"
"""Condition of an expression with the metric `database`, for alarms on consequences of an outage of
the database, which has an alarm of its own."""

BUDGETS = {
    "errors": ("FailedRequests", 0.1, "returns errors"),
    "latency": ("SlowRequests", 1.0, "is slow: responses take more than a second"),
}
"""Objectives of a service: metric of the requests that do not meet the objective, their permitted
percentage, and the symptom. The metrics exclude the errors and the time of Cores. Failed requests
are those that clients received, also from Envoy in place of a worker
(`gatehouse.platform.supervisor`); their share is that of the requests at the load balancer.
"""
BURN_RATES = {
    "5m": (300, 14.4),
    "1h": (3600, 14.4),
    "30m": (1800, 6.0),
    "6h": (21600, 6.0),
    "3d": (86400, 1.0),
}
"""Windows in seconds and the multiple of the permitted percentage in a window that raises the
alarm. The last one is exceeded on each of three days. CloudWatch evaluates at most seven days of an
alarm whose period is an hour or more (CloudWatch User Guide, "Alarms", read 2026-11-29).
Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
"""
BURN_RATE_PAIRS = (("5m", "1h"), ("30m", "6h"))
"""Short and long windows that both exceed their rates. The long window requires that the loss is
large, and the short one that it goes on. Only the short window leaves out outages of the database,
so that an outage does not hide later errors in the long one."""
SLOW_BURN, ROLLBACK_BURN_RATE = "3d", "5m"
"""Windows of the alarm without a pair, and of the alarms that roll back a deployment."""
PAGING_BURN_RATES = {"errors": None, "latency": "gateway"}
"""Objectives whose burn rates page, for one service only or for all (None)."""
SUPPRESSION_WAIT_S, SUPPRESSION_EXTENSION_S = 120, 180
"""Time that a composite alarm waits for its suppressor, and time for which it stays silent after
the suppressor has ended."""

ERRORS_ACTION = "Check the dashboard for a deployment, and the log group of the service."
GATEWAY_DOWN = "gateway-down"
Text = pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class MonitoredResources:
    """Resources that have alarms and widgets, and whose names AWS generates.

    load_balancers: CloudWatch dimension of each load balancer, keyed by resource name.
    target_groups: CloudWatch dimensions of both target groups of a service, keyed by service.
    grpc_groups: Those of its gRPC requests.
    keys: ARNs of the KMS keys.
    nat_gateways: IDs of the NAT gateways, keyed by zone.
    """

    load_balancers: Mapping[str, Text]
    target_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    grpc_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    cluster: Text
    database: Text
    table: Text
    keys: Sequence[Text]
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
    severity: Topic that is notified. None: only a composite alarm or a deployment uses the state.
    """

    name: str
    description: str
    runbook: str
    metric: Metric | Expression
    threshold: float = 0
    comparison: str = OVER
    evaluation: tuple[int, int, int] = ONCE
    missing: str = "notBreaching"
    severity: str | None = TICKETS


@dataclass(frozen=True)
class CompositeAlarm:
    """An alarm on the states of others, which send no notifications of their own.

    any_of: It is raised if all alarms of one of the rows are.
    suppressor: While this alarm is raised, the composite alarm sends no notifications.
    """

    name: str
    description: str
    runbook: str
    any_of: Sequence[Sequence[str]]
    severity: str = PAGES
    suppressor: str | None = None


def resource_alarms(stack: Stack, resources: MonitoredResources) -> Iterator[Alarm]:
    """Yield the alarms on resources, except those that roll back a deployment
    (`service_alarms`).
    """
    if not stack.settings.monitoring.creates_alarms:
        return
    functions = [function.service.name for function in stack.contract.functions.values()]
    for service in (*resources.target_groups, *functions):
        for window in BURN_RATES:
            if window != ROLLBACK_BURN_RATE:
                yield from _burn_rates(service, stack, resources, window)
    for kind, rows in _monitored(stack, resources).items():
        for values in rows:
            yield from table_alarms(ROWS[kind], stack, **values)


def _monitored(stack: Stack, resources: MonitoredResources) -> dict[str, list[dict[str, Any]]]:
    """Return the values of the resources of each kind in metric_alarms.toml."""
    names, settings, database = stack.names, stack.settings, stack.settings.database
    return {
        "published": [{}],
        "notice": [{"notice_topics": {kind: names.notice_topic(kind) for kind in NOTICES}}],
        "load_balancer": [
            {"name": name, "label": label} for name, label in resources.load_balancers.items()
        ],
        "web_acl": [{"name": names.name("edge")}] if settings.waf.enabled else [],
        "ecs_service": [
            {"service": service, "name": names.name(service), "cluster": resources.cluster}
            | {"collector": stack.has_collector(process)}
            for service, process in stack.contract.ecs_services.items()
        ],
        "database": [
            {
                "id": resources.database,
                "burstable": database.is_burstable,
                "connections_max": database.connections_max * 80 // 100,
                "memory_min_bytes": database.memory_gib * GIB // 20,
                "storage_min_bytes": database.storage_gib * GIB / 20,
            }
        ],
        "nat_gateway": [{"zone": zone, "id": id_} for zone, id_ in resources.nat_gateways.items()],
        "replication": [
            {"source": names.bucket("data"), "rule": REPLICATION_RULE}
            | {"destination": names.in_region(region).bucket("data")}
            for region in filter(None, [settings.replication_region])
        ],
        "cache_node": [
            {"name": node.removeprefix(names.name("")), "id": node}
            for node in names.cache_nodes(1 + settings.cache.replicas)
        ],
        "maintenance": [
            {
                "table": resources.table,
                "certificate_arn": resources.certificate_arn,
                "rotation_function": names.name(ROTATION_FUNCTION),
                "dead_letter_queue": names.dead_letter_queue(ROTATION_FUNCTION),
            }
        ],
    }


def table_alarms(rows: Iterable[dict[str, Any]], stack: Stack, **values: Any) -> Iterator[Alarm]:
    """Yield the alarms of a table of metric_alarms.toml with the values of a resource."""
    names = stack.names
    known = {"names": names, "monitoring": stack.settings.monitoring, **ROWS["numbers"], **values}

    def metric(row: dict[str, Any]) -> Metric:
        return Metric(**{"namespace": names.namespace, **row})

    for row in tables.rows(rows, known):
        severity = row.pop("severity", TICKETS)
        metrics = {name: metric(each) for name, each in row.pop("metrics", {}).items()}
        yield Alarm(
            description=" ".join(row.pop("description").split()),
            metric=Expression(row.pop("expression"), metrics)
            if metrics
            else metric(row.pop("metric")),
            comparison=UNDER if row.pop("comparison", "over") == "under" else OVER,
            evaluation=tuple(row.pop("evaluation", ONCE)),
            severity=None if severity == "none" else severity,
            **row,
        )


def service_alarms(stack: Stack, resources: MonitoredResources) -> dict[str, list[Alarm]]:
    """Return the alarms that roll back a deployment, keyed by service: errors, latency and
    saturation, in this order, and for the gateway the errors of Cores.
    """
    rows = ROWS["deployment"]
    return {
        service: [
            *_burn_rates(service, stack, resources, ROLLBACK_BURN_RATE),
            *table_alarms(rows["ecs_service"], stack, service=service, blue=blue, green=green),
            *(table_alarms(rows["gateway"], stack) if service == "gateway" else ()),
        ]
        for service, (blue, green) in resources.target_groups.items()
    } | {
        name: [
            *_burn_rates(name, stack, resources, ROLLBACK_BURN_RATE),
            *table_alarms(rows["function"], stack, service=name, name=stack.names.name(name)),
        ]
        for name in (function.service.name for function in stack.contract.functions.values())
    }


def _burn_rates(
    service: str, stack: Stack, resources: MonitoredResources, window: str
) -> Iterator[Alarm]:
    """Yield an alarm for each objective of a service. Without a minimum number of requests, a
    single failed request would raise an alarm at night.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold
    period_s, rate = BURN_RATES[window]
    short, slow = window in [pair[0] for pair in BURN_RATE_PAIRS], window == SLOW_BURN
    condition = f" AND {DATABASE_PRESENT}" if short else ""
    requests = _requests(service, stack, resources)
    # A group without requests has no data, and so has a division by zero.
    total = " + ".join(f"FILL({name}, 0)" for name in requests)
    for objective, (name, percent, symptom) in BUDGETS.items():
        failed = service_metric(service, name, stack.names)
        if objective == "errors" and service not in resources.target_groups:
            failed = _api_metric(service, "5XXError", stack)
        metrics = {"failed": failed, **requests}
        if short:
            metrics["database"] = database_age(stack.names)
        share = round(rate * percent, 2)
        period = "a day, on three days," if slow else window
        yield Alarm(
            f"{service}-{objective}-{window}",
            f"The {service} service {symptom}. More than {share} percent of its requests within "
            f"{period} are affected; failed and slow Cores are not counted. {ERRORS_ACTION}",
            objective,
            Expression(
                f"IF(failed > {requests_min}{condition}, 100 * failed / MAX([failed, {total}]), 0)",
                metrics,
            ),
            share,
            evaluation=(period_s, 3, 3) if slow else (period_s, 1, 1),
            severity=TICKETS if slow else None,
        )


def _requests(service: str, stack: Stack, resources: MonitoredResources) -> dict[str, Metric]:
    """Return the metrics of the requests of clients, without health checks. Source: Elastic Load
    Balancing User Guide, "CloudWatch metrics for your Application Load Balancer"; API Gateway
    Developer Guide, "Amazon API Gateway dimensions and metrics" (2026-11-30).
    """
    if not (groups := resources.target_groups.get(service)):
        return {"all": _api_metric(service, "Count", stack)}
    groups = [*groups, *resources.grpc_groups.get(service, ())]
    colours = ("blue", "green", "bluegrpc", "greengrpc")
    return {
        colour: Metric(LOAD_BALANCER, "RequestCount", group)
        for colour, group in zip(colours, groups, strict=False)
    }


def _api_metric(service: str, name: str, stack: Stack) -> Metric:
    return Metric(REST_API, name, {"ApiName": stack.names.name(service), "Stage": STAGE})


def composite_alarms(
    stack: Stack, services: Iterable[str], balancers: Iterable[str]
) -> Iterator[CompositeAlarm]:
    """Yield the alarms that notify for several symptoms of one cause.

    services: Names of the services that have objectives. balancers: names of the load balancers.
    """
    probed = stack.settings.monitoring.probe
    symptoms = ["key-state-stale", *([CANARY_KEY, "gateway-unreachable"] if probed else ())]
    yield CompositeAlarm(
        GATEWAY_DOWN,
        "The gateway does not verify keys: it does not respond, denies the canary key, or its key "
        "state is stale. Check the tasks of the gateway, then the database.",
        "unreachable",
        [[symptom] for symptom in symptoms],
    )
    for balancer in balancers:
        yield CompositeAlarm(
            f"{balancer}-errors",
            "The load balancer fails requests in place of the services: a part of the clients is "
            "affected. Check the stopped tasks of the services.",
            "errors",
            [[f"{balancer}-5xx"]],
            suppressor=GATEWAY_DOWN,
        )
    for service in services:
        for objective, (_, _, symptom) in BUDGETS.items():
            suppressor = f"{service}-unreachable" if probed else None
            yield CompositeAlarm(
                f"{service}-{objective}",
                f"The {service} service {symptom}, so that the permitted number of a month is used "
                f"up within days. {ERRORS_ACTION}",
                objective,
                [
                    [f"{service}-{objective}-{window}" for window in pair]
                    for pair in BURN_RATE_PAIRS
                ],
                PAGES if PAGING_BURN_RATES[objective] in (None, service) else TICKETS,
                GATEWAY_DOWN if service == "gateway" else suppressor,
            )


def database_age(names: Naming) -> Metric:
    return service_metric("gateway", "DatabaseAgeSeconds", names, "Maximum")


def service_metric(service: str, name: str, names: Naming, statistic: str = "Sum") -> Metric:
    return Metric(names.namespace, name, {"Service": service}, statistic)


def event_alarm(rule: str, description: str, runbook: str, severity: str, names: Naming) -> Alarm:
    """Return the alarm on the events of a rule. Failed invocations of its target count as well
    (EventBridge User Guide, "Monitoring Amazon EventBridge", read 2026-11-29)."""
    metric = Metric("AWS/Events", "Invocations", {"RuleName": names.name(rule)})
    return Alarm(rule, description, runbook, metric, severity=severity)


def undelivered_alarm(rule: str, names: Naming) -> Alarm:
    """Return the alarm for an event rule that invokes a function."""
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


def alarm_description(
    description: str, runbook: str, stack: Stack, severity: str | None = None
) -> str:
    """Return the text of a notification: severity, owner, symptom, first action, runbook."""
    head = f"{severity.removesuffix('s').upper()} for {stack.settings.owner}: " if severity else ""
    return f"{head}{description} {stack.settings.monitoring.runbooks_url}/{runbook}.md"


def _notifications(alarm: Alarm | CompositeAlarm, stack: Stack, topics: Topics) -> dict[str, Any]:
    """Return the arguments with which the topic of the severity receives the states ALARM and
    OK."""
    actions = [topics.alarms[alarm.severity]] if alarm.severity else []
    return {
        "alarm_description": alarm_description(
            alarm.description, alarm.runbook, stack, alarm.severity
        ),
        "actions_enabled": True,
        "alarm_actions": actions,
        "ok_actions": actions,
        "tags": tags("none", Severity=alarm.severity or "none"),
    }


def composite_alarm(
    alarm: CompositeAlarm,
    stack: Stack,
    topics: Topics,
    parent: pulumi.Resource,
    others: Sequence[pulumi.Resource],
) -> aws.cloudwatch.CompositeAlarm:
    """Create the composite alarm after the alarms in its rule (CloudWatch API Reference,
    "PutCompositeAlarm")."""

    def states(row: Sequence[str]) -> str:
        return " AND ".join(f'ALARM("{stack.names.name(name)}")' for name in row)

    suppressor: aws.cloudwatch.CompositeAlarmActionsSuppressorArgsDict | None = (
        {
            "alarm": stack.names.name(alarm.suppressor),
            "wait_period": SUPPRESSION_WAIT_S,
            "extension_period": SUPPRESSION_EXTENSION_S,
        }
        if alarm.suppressor
        else None
    )
    return aws.cloudwatch.CompositeAlarm(
        alarm.name,
        alarm_name=stack.names.name(alarm.name),
        alarm_rule=" OR ".join(f"({states(row)})" for row in alarm.any_of),
        actions_suppressor=suppressor,
        **_notifications(alarm, stack, topics),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=others),
    )


def metric_alarm(
    alarm: Alarm, stack: Stack, topics: Topics, parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Create the CloudWatch alarm."""
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
        **source,
        evaluation_periods=periods,
        datapoints_to_alarm=breaching,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        **_notifications(alarm, stack, topics),
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
