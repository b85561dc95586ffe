"""AWS Budgets and Cost Explorer."""

import json
from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _budget(make: Make) -> tuple[str, dict[str, Any]]:
    """The provider has limit and notifications flat; the API has a money value, and subscribers beside a notification."""
    account, name = make.take("accountId") or make.account, make.take("name")
    operation = "budgets.create_budget"
    budget = {
        "BudgetName": name,
        "BudgetType": make.take("budgetType"),
        "TimeUnit": make.take("timeUnit"),
        "BudgetLimit": {"Amount": str(make.take("limitAmount")), "Unit": make.take("limitUnit")},
    }
    if make.take("metrics"):
        budget["Metrics"] = [_metric(make.peek("metrics"))]
    if make.take("filterExpression"):
        names = {"ands": "And", "ors": "Or", "not": "Not"}
        budget["FilterExpression"] = make.part(operation, "Budget.FilterExpression", make.peek("filterExpression"), names)
    alerts = [_alert(make, alert) for alert in make.take("notifications") or []]
    parameters = {"AccountId": account, "Budget": budget, "NotificationsWithSubscribers": alerts}
    if make.tags:
        parameters["ResourceTags"] = make.tag_list()
    make.call(operation, parameters)
    return f"{account}:{name}", {"arn": f"arn:aws:budgets::{account}:budget/{name}", "accountId": account, "name": name}


def _metric(metric: Any) -> str:
    return str(metric[0] if isinstance(metric, list) else metric)


def _alert(make: Make, alert: dict[str, Any]) -> dict[str, Any]:
    rest = dict(alert)
    subscribers = [
        {"SubscriptionType": kind, "Address": address}
        for key, kind in (("subscriberSnsTopicArns", "SNS"), ("subscriberEmailAddresses", "EMAIL"))
        for address in rest.pop(key, None) or []
    ]
    body = make.part("budgets.create_budget", "NotificationsWithSubscribers.Notification", rest)
    return {"Notification": body, "Subscribers": subscribers}


def _monitor(make: Make) -> tuple[str, dict[str, Any]]:
    specification = make.take("monitorSpecification")
    body = {"monitorName": make.take("name"), "monitorType": make.take("monitorType")}
    if make.take("monitorDimension"):
        body["monitorDimension"] = make.peek("monitorDimension")
    monitor = make.part("ce.create_anomaly_monitor", "AnomalyMonitor", body)
    if specification:
        monitor["MonitorSpecification"] = json.loads(specification)
    make.check("ce.create_anomaly_monitor", {"AnomalyMonitor": monitor})
    arn = f"arn:aws:ce::{make.account}:anomalymonitor/{monitor['MonitorName']}"
    return arn, {"arn": arn}


def _subscription(make: Make) -> tuple[str, dict[str, Any]]:
    body = {
        "subscriptionName": make.take("name"),
        "accountId": make.take("accountId") or make.account,
        "frequency": make.take("frequency"),
        "monitorArnList": make.take("monitorArnLists"),
        "subscribers": make.take("subscribers"),
        "thresholdExpression": make.take("thresholdExpression"),
    }
    names = {"dimension": "Dimensions", "ands": "And", "ors": "Or"}
    subscription = make.part("ce.create_anomaly_subscription", "AnomalySubscription", body, names)
    make.check("ce.create_anomaly_subscription", {"AnomalySubscription": subscription})
    arn = f"arn:aws:ce::{make.account}:anomalysubscription/{subscription['SubscriptionName']}"
    return arn, {"arn": arn, "accountId": body["accountId"]}


_NO_ANOMALIES = "moto's Cost Explorer has no anomaly detection"

ROWS: dict[str, Row] = {
    "aws:budgets/budget:Budget": Row(make=_budget),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": Row(make=_monitor, modelled=_NO_ANOMALIES),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": Row(make=_subscription, modelled=_NO_ANOMALIES),
}
