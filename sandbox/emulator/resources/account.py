"""Account-wide services: CloudTrail, GuardDuty, Security Hub, Config, Access Analyzer, IAM and EC2
settings, and Budgets.
"""

from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest

_FEATURES = [
    "S3_DATA_EVENTS",
    "EKS_AUDIT_LOGS",
    "EBS_MALWARE_PROTECTION",
    "RDS_LOGIN_EVENTS",
    "LAMBDA_NETWORK_LOGS",
]


def enable_feature(request: CreateRequest) -> Created:
    """Send all features, because moto replaces the whole list."""
    detector, name = request.take("detectorId"), request.take("name")
    current = request.call("guardduty.get_detector", DetectorId=detector)["Features"]
    others = [
        {"Name": item["Name"], "Status": item["Status"]}
        for item in current
        if item["Name"] in _FEATURES and item["Name"] != name
    ]
    feature = request.part(
        "guardduty.update_detector", "Features", [{"name": name, "status": request.take("status")}]
    )
    request.call("guardduty.update_detector", DetectorId=detector, Features=[*others, *feature])
    return f"{detector}/{name}", {}


def update_hub(request: CreateRequest, _hub: dict[str, Any]) -> None:
    if request.take("autoEnableControls") is not None:
        change = {"AutoEnableControls": request.peek("autoEnableControls")}
        request.check("securityhub.update_security_hub_configuration", change)


def start_recorder(request: CreateRequest) -> Created:
    name = request.take("name")
    verb = "start" if request.take("isEnabled") else "stop"
    request.call(f"config.{verb}_configuration_recorder", ConfigurationRecorderName=name)
    return name, {}


def stop_recorder(request: ChangeRequest) -> None:
    request.call("config.stop_configuration_recorder", ConfigurationRecorderName=request.old.id)


def expire_passwords(request: CreateRequest, _policy: dict[str, Any]) -> dict[str, Any]:
    return {"expirePasswords": bool(request.peek("maxPasswordAge"))}


def set_ebs_encryption(request: CreateRequest) -> Created:
    action = "enable" if request.take("enabled") is not False else "disable"
    request.call(f"ec2.{action}_ebs_encryption_by_default")
    return request.region, {}


def configure_trail(request: CreateRequest, trail: dict[str, Any]) -> None:
    verb = "stop" if request.take("enableLogging") is False else "start"
    request.call(f"cloudtrail.{verb}_logging", Name=trail["TrailARN"])


def limit_and_notifications(request: CreateRequest) -> dict[str, Any]:
    """Combine amount and unit of the limit, and list the subscribers next to each notification."""
    limit = {"Amount": str(request.take("limitAmount")), "Unit": request.take("limitUnit")}
    return {
        "AccountId": request.take("accountId"),
        "Budget": {"BudgetLimit": limit},
        "NotificationsWithSubscribers": [
            _notification(request, row) for row in request.take("notifications")
        ],
        "ResourceTags": request.tag_list(),
    }


def _notification(request: CreateRequest, notification: dict[str, Any]) -> dict[str, Any]:
    rest = dict(notification)
    addresses = {
        "SNS": rest.pop("subscriberSnsTopicArns", ()),
        "EMAIL": rest.pop("subscriberEmailAddresses", ()),
    }
    subscribers = [
        {"SubscriptionType": kind, "Address": item}
        for kind, items in addresses.items()
        for item in items
    ]
    body = request.part("budgets.create_budget", "NotificationsWithSubscribers.Notification", rest)
    return {"Notification": body, "Subscribers": subscribers}
