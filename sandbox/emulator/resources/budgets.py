"""AWS Budgets and Cost Explorer."""

import json
from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _create_budget(request: CreateRequest) -> Created:
    """The API has a monetary limit, and lists subscribers next to each notification."""
    account, name = request.take("accountId") or request.account, request.take("name")
    operation = "budgets.create_budget"
    budget = {
        "BudgetName": name,
        "BudgetType": request.take("budgetType"),
        "TimeUnit": request.take("timeUnit"),
        "BudgetLimit": {"Amount": str(request.take("limitAmount")), "Unit": request.take("limitUnit")},
    }
    if request.take("metrics"):
        budget["Metrics"] = [_metric_name(request.peek("metrics"))]
    if request.take("filterExpression"):
        names = {"ands": "And", "ors": "Or", "not": "Not"}
        budget["FilterExpression"] = request.part(operation, "Budget.FilterExpression", request.peek("filterExpression"), names)
    notifications = [_notification(request, notification) for notification in request.take("notifications") or []]
    parameters = {"AccountId": account, "Budget": budget, "NotificationsWithSubscribers": notifications}
    if request.tags:
        parameters["ResourceTags"] = request.tag_list()
    request.call(operation, parameters)
    return f"{account}:{name}", {"arn": f"arn:aws:budgets::{account}:budget/{name}", "accountId": account, "name": name}


def _metric_name(metric: Any) -> str:
    return str(metric[0] if isinstance(metric, list) else metric)


def _notification(request: CreateRequest, notification: dict[str, Any]) -> dict[str, Any]:
    rest = dict(notification)
    subscribers = [
        {"SubscriptionType": kind, "Address": address}
        for key, kind in (("subscriberSnsTopicArns", "SNS"), ("subscriberEmailAddresses", "EMAIL"))
        for address in rest.pop(key, None) or []
    ]
    body = request.part("budgets.create_budget", "NotificationsWithSubscribers.Notification", rest)
    return {"Notification": body, "Subscribers": subscribers}


def _validate_monitor(request: CreateRequest) -> Created:
    specification = request.take("monitorSpecification")
    body = {"monitorName": request.take("name"), "monitorType": request.take("monitorType")}
    if request.take("monitorDimension"):
        body["monitorDimension"] = request.peek("monitorDimension")
    monitor = request.part("ce.create_anomaly_monitor", "AnomalyMonitor", body)
    if specification:
        monitor["MonitorSpecification"] = json.loads(specification)
    request.check("ce.create_anomaly_monitor", {"AnomalyMonitor": monitor})
    arn = f"arn:aws:ce::{request.account}:anomalymonitor/{monitor['MonitorName']}"
    return arn, {"arn": arn}


def _validate_subscription(request: CreateRequest) -> Created:
    body = {
        "subscriptionName": request.take("name"),
        "accountId": request.take("accountId") or request.account,
        "frequency": request.take("frequency"),
        "monitorArnList": request.take("monitorArnLists"),
        "subscribers": request.take("subscribers"),
        "thresholdExpression": request.take("thresholdExpression"),
    }
    names = {"dimension": "Dimensions", "ands": "And", "ors": "Or"}
    subscription = request.part("ce.create_anomaly_subscription", "AnomalySubscription", body, names)
    request.check("ce.create_anomaly_subscription", {"AnomalySubscription": subscription})
    arn = f"arn:aws:ce::{request.account}:anomalysubscription/{subscription['SubscriptionName']}"
    return arn, {"arn": arn, "accountId": body["accountId"]}


_NO_ANOMALIES = "moto's Cost Explorer has no anomaly detection"

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:budgets/budget:Budget": ResourceType(create=_create_budget),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": ResourceType(create=_validate_monitor, modelled=_NO_ANOMALIES),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": ResourceType(
        create=_validate_subscription, modelled=_NO_ANOMALIES
    ),
}
