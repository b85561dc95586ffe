"""AWS Budgets and Cost Explorer."""

import json
from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_EXPRESSION = {"dimension": "Dimensions", "ands": "And", "ors": "Or", "not": "Not"}
_NO_ANOMALIES = "moto's Cost Explorer has no anomaly detection"


def _limit_and_notifications(request: CreateRequest) -> dict[str, Any]:
    """The API has a monetary limit, and lists subscribers next to each notification."""
    budget: dict[str, Any] = {"BudgetLimit": {"Amount": str(request.take("limitAmount")), "Unit": request.take("limitUnit")}}
    if metrics := request.take("metrics"):
        budget["Metrics"] = [str(metrics[0] if isinstance(metrics, list) else metrics)]
    return {
        "AccountId": request.take("accountId") or request.account,
        "Budget": budget,
        "NotificationsWithSubscribers": [_notification(request, row) for row in request.take("notifications") or []],
        **({"ResourceTags": request.tag_list()} if request.tags else {}),
    }


def _notification(request: CreateRequest, notification: dict[str, Any]) -> dict[str, Any]:
    rest = dict(notification)
    subscribers = [
        {"SubscriptionType": kind, "Address": address}
        for key, kind in (("subscriberSnsTopicArns", "SNS"), ("subscriberEmailAddresses", "EMAIL"))
        for address in rest.pop(key, None) or []
    ]
    body = request.part("budgets.create_budget", "NotificationsWithSubscribers.Notification", rest)
    return {"Notification": body, "Subscribers": subscribers}


def _monitor_specification(request: CreateRequest) -> dict[str, Any]:
    specification = request.take("monitorSpecification")
    return {"AnomalyMonitor": {"MonitorSpecification": json.loads(specification)} if specification else {}}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:budgets/budget:Budget": ResourceType(
        call="budgets.create_budget",
        id="{account}:{name}",
        body="Budget",
        nested=_EXPRESSION,
        prepare=_limit_and_notifications,
        outputs={"arn": "arn:aws:budgets::{account}:budget/{name}", "accountId": "{account}"},
    ),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": ResourceType(
        call="ce.create_anomaly_monitor",
        id="arn:aws:ce::{account}:anomalymonitor/{name}",
        body="AnomalyMonitor",
        prepare=_monitor_specification,
        outputs={"arn": "{id}"},
        modelled=_NO_ANOMALIES,
    ),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": ResourceType(
        call="ce.create_anomaly_subscription",
        id="arn:aws:ce::{account}:anomalysubscription/{name}",
        body="AnomalySubscription",
        nested=_EXPRESSION,
        outputs={"arn": "{id}", "accountId": "{account}"},
        modelled=_NO_ANOMALIES,
    ),
}
