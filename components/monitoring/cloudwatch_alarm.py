"""Defines alarms, and creates a CloudWatch alarm from each definition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import TargetGroupDimensions, Topics
from components.context import Stack
from components.naming import PAGES, TICKETS, Naming, tags

LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
ONCE, MOST_MINUTES = (300, 1, 1), (60, 3, 5)
"""Values of `Condition.evaluation`. The latest minute of a metric can be missing when CloudWatch
evaluates it, so an alarm on minutes never requires all of them."""
DATABASE_PRESENT = "FILL(database, 0) < 5"
"""Condition of an expression with the metric `database` (`database_age`), for alarms on
consequences of an outage of the database, which has an alarm of its own. A gateway reads the
database every second."""
SUPPRESSION_WAIT_S, SUPPRESSION_EXTENSION_S = 120, 180
"""Time that a composite alarm waits for its suppressor, and time for which it stays silent after
the suppressor has ended."""

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
class Condition:
    """The condition that raises an alarm.

    evaluation: Length of a period in seconds, number of periods that cross the threshold, number of
        periods that are evaluated.
    missing: Treatment of missing data: "notBreaching" for metrics that require traffic, "breaching"
        for metrics with a fixed interval.
    """

    threshold: float
    comparison: str
    evaluation: tuple[int, int, int]
    missing: str


def above(
    threshold: float, evaluation: tuple[int, int, int] = ONCE, missing: str = "notBreaching"
) -> Condition:
    return Condition(threshold, OVER, evaluation, missing)


def below(
    threshold: float, evaluation: tuple[int, int, int] = ONCE, missing: str = "notBreaching"
) -> Condition:
    return Condition(threshold, UNDER, evaluation, missing)


ABOVE_ZERO = above(0)


@dataclass(frozen=True)
class Alarm:
    """An alarm on a metric.

    runbook: File name in docs/runbooks, without extension.
    severity: Topic that is notified. None: only a composite alarm or a deployment uses the state.
    """

    name: str
    description: str
    runbook: str
    metric: Metric | Expression
    condition: Condition = ABOVE_ZERO
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


def database_age(names: Naming) -> Metric:
    return service_metric("gateway", "DatabaseAgeSeconds", names, "Maximum")


def service_metric(service: str, name: str, names: Naming, statistic: str = "Sum") -> Metric:
    return Metric(names.namespace, name, {"Service": service}, statistic)


def function_metric(function: str, name: str, names: Naming) -> Metric:
    return Metric(LAMBDA, name, {"FunctionName": names.name(function)})


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
    metric = function_metric(function, "Errors", names)
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
    metric, condition = alarm.metric, alarm.condition
    period_s, breaching, periods = condition.evaluation
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
        threshold=condition.threshold,
        comparison_operator=condition.comparison,
        treat_missing_data=condition.missing,
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
