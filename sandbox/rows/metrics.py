"""CloudWatch logs, metrics and dashboards, and SNS."""

from typing import Any

from sandbox.rows.make import Make
from sandbox.rows.row import HOW_PULUMI_WORKS, Row


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


def _topic(make: Make) -> tuple[str, dict[str, Any]]:
    attributes = {
        member: str(make.peek(name)).lower() if isinstance(make.peek(name), bool) else str(make.peek(name))
        for name, member in _TOPIC_ATTRIBUTES.items()
        if make.take(name) is not None
    }
    name = make.take("name") or make.registration.name
    tags: dict[str, Any] = {"Tags": make.tag_list()} if make.tags else {}
    arn = make.call("sns.create_topic", Name=name, Attributes=attributes, **tags)["TopicArn"]
    return arn, {"arn": arn, "name": name, "owner": make.account}


_TOPIC_ATTRIBUTES = {
    "kmsMasterKeyId": "KmsMasterKeyId",
    "displayName": "DisplayName",
    "policy": "Policy",
    "deliveryPolicy": "DeliveryPolicy",
    "fifoTopic": "FifoTopic",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "signatureVersion": "SignatureVersion",
    "tracingConfig": "TracingConfig",
}


def _topic_policy(make: Make) -> tuple[str, dict[str, Any]]:
    arn = make.take("arn")
    make.call("sns.set_topic_attributes", TopicArn=arn, AttributeName="Policy", AttributeValue=make.take("policy"))
    return arn, {"owner": make.account}


def _subscription(make: Make) -> tuple[str, dict[str, Any]]:
    attributes = {
        member: str(make.peek(name)).lower() if isinstance(make.peek(name), bool) else str(make.peek(name))
        for name, member in (
            ("rawMessageDelivery", "RawMessageDelivery"),
            ("filterPolicy", "FilterPolicy"),
            ("redrivePolicy", "RedrivePolicy"),
        )
        if make.take(name) is not None
    }
    answer = make.call(
        "sns.subscribe",
        TopicArn=make.take("topic"),
        Protocol=make.take("protocol"),
        Endpoint=make.take("endpoint"),
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return answer["SubscriptionArn"], {"arn": answer["SubscriptionArn"], "ownerId": make.account}


def _resource_policy(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("policyName")
    make.call("logs.put_resource_policy", policyName=name, policyDocument=make.take("policyDocument"))
    return name, {}


def _dashboard(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("dashboardName")
    make.call("cloudwatch.put_dashboard", DashboardName=name, DashboardBody=make.take("dashboardBody"))
    return name, {"dashboardArn": f"arn:aws:cloudwatch::{make.account}:dashboard/{name}"}


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
    "aws:sns/topic:Topic": Row(make=_topic),
    "aws:sns/topicPolicy:TopicPolicy": Row(make=_topic_policy),
    "aws:sns/topicSubscription:TopicSubscription": Row(make=_subscription),
}
