"""CloudWatch log groups, metrics, alarms and dashboards, and EventBridge rules."""

import json
from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, ResourceType, Setting, arn


def alarm_metrics(request: CreateRequest) -> dict[str, Any]:
    """Convert the dimensions to a list, and nest the metric of a query in MetricStat, as the API
    requires.
    """
    dimensions, queries = request.take("dimensions"), request.take("metricQueries")
    return {
        **({"Dimensions": _dimensions(dimensions)} if dimensions else {}),
        **({"Metrics": [_query(request, query) for query in queries]} if queries else {}),
    }


def _dimensions(dimensions: dict[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": str(value)} for name, value in dimensions.items()]


def _query(request: CreateRequest, query: dict[str, Any]) -> dict[str, Any]:
    rest = dict(query)
    metric = rest.pop("metric", None)
    body: dict[str, Any] = request.part("cloudwatch.put_metric_alarm", "Metrics", [rest])[0]
    if metric:
        statistic = {name: metric[name] for name in ("period", "stat", "unit") if name in metric}
        body["MetricStat"] = request.part(
            "cloudwatch.put_metric_alarm", "Metrics.MetricStat", statistic
        )
        body["MetricStat"]["Metric"] = {
            "MetricName": metric["metricName"],
            "Namespace": metric["namespace"],
        }
        if metric.get("dimensions"):
            body["MetricStat"]["Metric"]["Dimensions"] = _dimensions(metric["dimensions"])
    return body


def validate_pattern(request: CreateRequest) -> dict[str, Any]:
    """Reject a pattern that is not a JSON object whose leaves are lists, as AWS does."""
    pattern = request.peek("eventPattern")
    if pattern is not None and not _is_pattern(json.loads(pattern)):
        raise request.error(
            "property eventPattern is not a valid event pattern: each leaf must be a list of "
            "values."
        )
    return {}


def _is_pattern(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_pattern(inner) for inner in value.values())
    return isinstance(value, list) and bool(value)


def put_target(request: CreateRequest) -> Created:
    rule, arn, identity = request.take("rule"), request.take("arn"), request.take("targetId")
    payload = {"Input": text} if (text := request.take("input")) else {}
    request.call("events.put_targets", Rule=rule, Targets=[{"Id": identity, "Arn": arn, **payload}])
    return f"{rule}-{identity}", {}


def remove_target(request: ChangeRequest) -> None:
    target = request.old.registration.inputs
    request.call("events.remove_targets", Rule=target["rule"], Ids=[target["targetId"]])


TYPES = {
    "cloudwatch.LogGroup": ResourceType(
        "logs.create_log_group",
        "{name}",
        outputs=arn("logs", "log-group:{name}"),
        settings=(
            Setting(
                "logs.put_retention_policy",
                ["retentionInDays"],
                removal="logs.delete_retention_policy",
            ),
            Setting("logs.associate_kms_key", ["kmsKeyId"], created=True),
        ),
    ),
    "cloudwatch.LogResourcePolicy": ResourceType("logs.put_resource_policy", "{policyName}"),
    "cloudwatch.LogDataProtectionPolicy": ResourceType(
        "logs.put_data_protection_policy",
        "{logGroupName}",
        names={"logGroupName": "logGroupIdentifier"},
        modelled="moto has no PutDataProtectionPolicy",
    ),
    "cloudwatch.LogMetricFilter": ResourceType(
        "logs.put_metric_filter",
        "{name}",
        names={"name": "metricName", "namespace": "metricNamespace", "value": "metricValue"},
    ),
    "cloudwatch.MetricAlarm": ResourceType(
        "cloudwatch.put_metric_alarm",
        "{name}",
        outputs=arn("cloudwatch", "alarm:{name}"),
        prepare=alarm_metrics,
        delete="cloudwatch.delete_alarms",
    ),
    "cloudwatch.CompositeAlarm": ResourceType(
        "cloudwatch.put_composite_alarm",
        "{alarmName}",
        outputs=arn("cloudwatch", "alarm:{alarmName}"),
        modelled="moto has no PutCompositeAlarm",
    ),
    "cloudwatch.Dashboard": ResourceType(
        "cloudwatch.put_dashboard",
        "{dashboardName}",
        outputs={"dashboardArn": "arn:aws:cloudwatch::{account}:dashboard/{dashboardName}"},
        delete="cloudwatch.delete_dashboards",
    ),
    "cloudwatch.EventRule": ResourceType("events.put_rule", "{name}", prepare=validate_pattern),
    "cloudwatch.EventTarget": ResourceType(create=put_target, update=AGAIN, delete=remove_target),
}
