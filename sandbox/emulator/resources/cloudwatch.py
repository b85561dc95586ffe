"""CloudWatch logs, metrics, alarms and dashboards, and EventBridge rules."""

import json
from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _log_group(make: Make) -> tuple[str, dict[str, Any]]:
    names = {"name": "logGroupName"}
    parameters = make.parameters("logs.create_log_group", names=names)
    make.call("logs.create_log_group", parameters)
    name = parameters["logGroupName"]
    days = make.take("retentionInDays")
    if days:
        make.call("logs.put_retention_policy", logGroupName=name, retentionInDays=int(days))
    return name, {"arn": f"arn:aws:logs:{make.region}:{make.account}:log-group:{name}", "name": name}


def _masking(make: Make) -> tuple[str, dict[str, Any]]:
    parameters = {"logGroupIdentifier": make.take("logGroupName"), "policyDocument": make.take("policyDocument")}
    make.check("logs.put_data_protection_policy", parameters)
    return parameters["logGroupIdentifier"], {}


def _metric_filter(make: Make) -> tuple[str, dict[str, Any]]:
    names = {"name": "filterName", "pattern": "filterPattern", "metricTransformation": "metricTransformations"}
    inner = {"name": "metricName", "namespace": "metricNamespace", "value": "metricValue"}
    parameters = make.parameters("logs.put_metric_filter", names=names, skip=("metricTransformation",))
    parameters["metricTransformations"] = make.part(
        "logs.put_metric_filter", "metricTransformations", make.take("metricTransformation"), inner
    )
    make.call("logs.put_metric_filter", parameters)
    return parameters["filterName"], {}


def _alarm(make: Make, parameters: dict[str, Any]) -> None:
    """Dimensions are a map in the provider and a list in the API; a metric query nests its metric one level deeper."""
    dimensions = make.take("dimensions")
    if dimensions:
        parameters["Dimensions"] = _dimensions(dimensions)
    queries = make.take("metricQueries")
    if queries:
        parameters["Metrics"] = [_query(make, query) for query in queries]


def _dimensions(dimensions: dict[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": str(value)} for name, value in dimensions.items()]


def _query(make: Make, query: dict[str, Any]) -> dict[str, Any]:
    rest = dict(query)
    metric = rest.pop("metric", None)
    body: dict[str, Any] = make.part("cloudwatch.put_metric_alarm", "Metrics", [rest])[0]
    if metric:
        statistic = {name: metric[name] for name in ("period", "stat", "unit") if name in metric}
        body["MetricStat"] = make.part("cloudwatch.put_metric_alarm", "Metrics.MetricStat", statistic)
        body["MetricStat"]["Metric"] = {"MetricName": metric["metricName"], "Namespace": metric["namespace"]}
        if metric.get("dimensions"):
            body["MetricStat"]["Metric"]["Dimensions"] = _dimensions(metric["dimensions"])
    return body


def _composite(make: Make) -> tuple[str, dict[str, Any]]:
    parameters = make.parameters("cloudwatch.put_composite_alarm", names={"okActions": "OKActions"})
    make.check("cloudwatch.put_composite_alarm", parameters)
    name = parameters["AlarmName"]
    return name, {"arn": f"arn:aws:cloudwatch:{make.region}:{make.account}:alarm:{name}"}


def _resource_policy(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("policyName")
    make.call("logs.put_resource_policy", policyName=name, policyDocument=make.take("policyDocument"))
    return name, {}


def _dashboard(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("dashboardName")
    make.call("cloudwatch.put_dashboard", DashboardName=name, DashboardBody=make.take("dashboardBody"))
    return name, {"dashboardArn": f"arn:aws:cloudwatch::{make.account}:dashboard/{name}"}


def _rule(make: Make, parameters: dict[str, Any]) -> None:
    """AWS refuses a pattern that is not a JSON object, or that says something else than a list at its end."""
    pattern = parameters.get("EventPattern")
    if pattern is not None and not _is_pattern(json.loads(pattern)):
        raise make.error("property eventPattern is not an event pattern: every member ends in a list of values.")


def _is_pattern(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_pattern(inner) for inner in value.values())
    return isinstance(value, list) and bool(value)


def _target(make: Make) -> tuple[str, dict[str, Any]]:
    rule, arn = make.take("rule"), make.take("arn")
    identity = make.take("targetId") or make.registration.name
    said = {"Input": given} if (given := make.take("input")) else {}
    answer = make.call("events.put_targets", Rule=rule, Targets=[{"Id": identity, "Arn": arn, **said}])
    if answer["FailedEntryCount"]:
        raise make.error(f"AWS (emulated) refuses put_targets: {answer['FailedEntries'][0]['ErrorMessage']}")
    return f"{rule}-{identity}", {"targetId": identity}


ROWS: dict[str, Row] = {
    "aws:cloudwatch/logGroup:LogGroup": Row(make=_log_group, ignored={"skipDestroy": HOW_PULUMI_WORKS}),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": Row(make=_resource_policy),
    "aws:cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy": Row(
        make=_masking, modelled="moto has no PutDataProtectionPolicy"
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": Row(make=_metric_filter),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Row(
        call="cloudwatch.put_metric_alarm",
        id="{name}",
        names={
            "name": "AlarmName",
            "okActions": "OKActions",
            "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
        },
        shape=_alarm,
        by_hand=("dimensions", "metricQueries"),
        outputs={"arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"},
    ),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": Row(make=_composite, modelled="moto has no PutCompositeAlarm"),
    "aws:cloudwatch/dashboard:Dashboard": Row(make=_dashboard),
    "aws:cloudwatch/eventRule:EventRule": Row(
        call="events.put_rule",
        id="{name}",
        shape=_rule,
        outputs={"arn": "{RuleArn}"},
        ignored={"forceDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Row(make=_target, ignored={"forceDestroy": HOW_PULUMI_WORKS}),
}
