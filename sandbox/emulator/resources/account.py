"""Account-wide services: CloudTrail, GuardDuty, Security Hub, Config, Access Analyzer, IAM and EC2
settings, and Budgets.
"""

from typing import Any

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import (
    AGAIN,
    KEPT,
    REPLACED,
    ResourceType,
    Setting,
    arn,
    global_arn,
)

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


TYPES = {
    "guardduty.Detector": ResourceType(
        "guardduty.create_detector",
        "{DetectorId}",
        outputs={
            "arn": "arn:aws:guardduty:{region}:{account}:detector/{DetectorId}",
            "accountId": "{account}",
        },
    ),
    "guardduty.DetectorFeature": ResourceType(create=enable_feature, update=AGAIN, delete=KEPT),
    # moto's Security Hub does not store autoEnableControls and controlFindingGenerator.
    "securityhub.Account": ResourceType(
        "securityhub.enable_security_hub",
        "{account}",
        outputs=arn("securityhub", "hub/default"),
        finish=update_hub,
    ),
    "cfg.Recorder": ResourceType(
        "config.put_configuration_recorder", "{name}", "ConfigurationRecorder"
    ),
    "cfg.DeliveryChannel": ResourceType("config.put_delivery_channel", "{name}", "DeliveryChannel"),
    "cfg.RecorderStatus": ResourceType(create=start_recorder, update=AGAIN, delete=stop_recorder),
    "accessanalyzer.Analyzer": ResourceType(
        "accessanalyzer.create_analyzer",
        "{analyzerName}",
        outputs=arn("access-analyzer", "analyzer/{analyzerName}"),
        modelled="moto has no Access Analyzer",
    ),
    "ebs.EncryptionByDefault": ResourceType(
        create=set_ebs_encryption, update=AGAIN, delete="ec2.disable_ebs_encryption_by_default"
    ),
    "ec2.InstanceMetadataDefaults": ResourceType(
        "ec2.modify_instance_metadata_defaults",
        "{region}",
        modelled="moto has no ModifyInstanceMetadataDefaults",
    ),
    "iam.AccountPasswordPolicy": ResourceType(
        "iam.update_account_password_policy",
        "iam-account-password-policy",
        finish=expire_passwords,
        delete="iam.delete_account_password_policy",
    ),
    "cloudtrail.Trail": ResourceType(
        "cloudtrail.create_trail",
        "{TrailARN}",
        names={"cloudWatchLogsGroupArn": "CloudWatchLogsLogGroupArn"},
        finish=configure_trail,
        settings=(Setting("cloudtrail.put_event_selectors", ["advancedEventSelectors"]),),
    ),
    "costexplorer.AnomalyMonitor": ResourceType(
        "ce.create_anomaly_monitor",
        "{name}",
        "AnomalyMonitor",
        names={"name": "MonitorName"},
        outputs=global_arn("ce", "anomalymonitor/{name}"),
        modelled="moto has no CreateAnomalyMonitor",
    ),
    "costexplorer.AnomalySubscription": ResourceType(
        "ce.create_anomaly_subscription",
        "{name}",
        "AnomalySubscription",
        names={"name": "SubscriptionName", "monitorArnLists": "MonitorArnList"},
        outputs=global_arn("ce", "anomalysubscription/{name}"),
        modelled="moto has no CreateAnomalySubscription",
    ),
    "budgets.Budget": ResourceType(
        "budgets.create_budget",
        "{account}:{name}",
        "Budget",
        names={"ands": "And"},
        outputs={"arn": "arn:aws:budgets::{account}:budget/{name}", "accountId": "{account}"},
        prepare=limit_and_notifications,
        update=REPLACED,
    ),
}
