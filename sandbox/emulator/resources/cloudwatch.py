"""CloudWatch logs, metrics, alarms and dashboards, and EventBridge rules."""

import json
from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _create_log_group(request: CreateRequest) -> Created:
    names = {"name": "logGroupName"}
    parameters = request.parameters("logs.create_log_group", names=names)
    request.call("logs.create_log_group", parameters)
    name = parameters["logGroupName"]
    days = request.take("retentionInDays")
    if days:
        request.call("logs.put_retention_policy", logGroupName=name, retentionInDays=int(days))
    return name, {"arn": request.arn("logs", f"log-group:{name}"), "name": name}


def _validate_data_protection(request: CreateRequest) -> Created:
    parameters = {"logGroupIdentifier": request.take("logGroupName"), "policyDocument": request.take("policyDocument")}
    request.check("logs.put_data_protection_policy", parameters)
    return parameters["logGroupIdentifier"], {}


def _put_metric_filter(request: CreateRequest) -> Created:
    names = {"name": "filterName", "pattern": "filterPattern", "metricTransformation": "metricTransformations"}
    inner = {"name": "metricName", "namespace": "metricNamespace", "value": "metricValue"}
    parameters = request.parameters("logs.put_metric_filter", names=names, skip=("metricTransformation",))
    parameters["metricTransformations"] = request.part(
        "logs.put_metric_filter", "metricTransformations", request.take("metricTransformation"), inner
    )
    request.call("logs.put_metric_filter", parameters)
    return parameters["filterName"], {}


def _set_metrics(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """The API takes dimensions as a list and nests the metric of a query in MetricStat."""
    dimensions = request.take("dimensions")
    if dimensions:
        parameters["Dimensions"] = _dimensions(dimensions)
    queries = request.take("metricQueries")
    if queries:
        parameters["Metrics"] = [_query(request, query) for query in queries]


def _dimensions(dimensions: dict[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": str(value)} for name, value in dimensions.items()]


def _query(request: CreateRequest, query: dict[str, Any]) -> dict[str, Any]:
    rest = dict(query)
    metric = rest.pop("metric", None)
    body: dict[str, Any] = request.part("cloudwatch.put_metric_alarm", "Metrics", [rest])[0]
    if metric:
        statistic = {name: metric[name] for name in ("period", "stat", "unit") if name in metric}
        body["MetricStat"] = request.part("cloudwatch.put_metric_alarm", "Metrics.MetricStat", statistic)
        body["MetricStat"]["Metric"] = {"MetricName": metric["metricName"], "Namespace": metric["namespace"]}
        if metric.get("dimensions"):
            body["MetricStat"]["Metric"]["Dimensions"] = _dimensions(metric["dimensions"])
    return body


def _validate_composite_alarm(request: CreateRequest) -> Created:
    parameters = request.parameters("cloudwatch.put_composite_alarm", names={"okActions": "OKActions"})
    request.check("cloudwatch.put_composite_alarm", parameters)
    name = parameters["AlarmName"]
    return name, {"arn": request.arn("cloudwatch", f"alarm:{name}")}


def _put_resource_policy(request: CreateRequest) -> Created:
    name = request.take("policyName")
    request.call("logs.put_resource_policy", policyName=name, policyDocument=request.take("policyDocument"))
    return name, {}


def _put_dashboard(request: CreateRequest) -> Created:
    name = request.take("dashboardName")
    request.call("cloudwatch.put_dashboard", DashboardName=name, DashboardBody=request.take("dashboardBody"))
    return name, {"dashboardArn": f"arn:aws:cloudwatch::{request.account}:dashboard/{name}"}


def _validate_pattern(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """Reject a pattern that is not a JSON object whose leaves are lists, as AWS does."""
    pattern = parameters.get("EventPattern")
    if pattern is not None and not _is_pattern(json.loads(pattern)):
        raise request.error("property eventPattern is not a valid event pattern: each leaf must be a list of values.")


def _is_pattern(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_pattern(inner) for inner in value.values())
    return isinstance(value, list) and bool(value)


def _put_target(request: CreateRequest) -> Created:
    rule, arn = request.take("rule"), request.take("arn")
    identity = request.take("targetId") or request.registration.name
    payload = {"Input": text} if (text := request.take("input")) else {}
    response = request.call("events.put_targets", Rule=rule, Targets=[{"Id": identity, "Arn": arn, **payload}])
    if response["FailedEntryCount"]:
        raise request.error(f"AWS (emulated) rejects put_targets: {response['FailedEntries'][0]['ErrorMessage']}")
    return f"{rule}-{identity}", {"targetId": identity}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:cloudwatch/logGroup:LogGroup": ResourceType(create=_create_log_group, ignored={"skipDestroy": PULUMI_ONLY}),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": ResourceType(create=_put_resource_policy),
    "aws:cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy": ResourceType(
        create=_validate_data_protection, modelled="moto has no PutDataProtectionPolicy"
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": ResourceType(create=_put_metric_filter),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ResourceType(
        call="cloudwatch.put_metric_alarm",
        id="{name}",
        names={
            "name": "AlarmName",
            "okActions": "OKActions",
            "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
        },
        prepare=_set_metrics,
        handled=("dimensions", "metricQueries"),
        outputs={"arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"},
    ),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": ResourceType(
        create=_validate_composite_alarm, modelled="moto has no PutCompositeAlarm"
    ),
    "aws:cloudwatch/dashboard:Dashboard": ResourceType(create=_put_dashboard),
    "aws:cloudwatch/eventRule:EventRule": ResourceType(
        call="events.put_rule",
        id="{name}",
        prepare=_validate_pattern,
        outputs={"arn": "{RuleArn}"},
        ignored={"forceDestroy": PULUMI_ONLY},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": ResourceType(create=_put_target, ignored={"forceDestroy": PULUMI_ONLY}),
}
