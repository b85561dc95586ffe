"""Account-wide settings: GuardDuty, Security Hub, Config, Access Analyzer, EBS encryption, IAM password policy and roles."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType

_FEATURES = ("S3_DATA_EVENTS", "EKS_AUDIT_LOGS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS")


def _enable_feature(request: CreateRequest) -> Created:
    """Send all features: moto replaces the whole list."""
    detector, name = request.take("detectorId"), request.take("name")
    current = request.call("guardduty.get_detector", DetectorId=detector)["Features"]
    others = [
        {"Name": item["Name"], "Status": item["Status"]} for item in current if item["Name"] in _FEATURES and item["Name"] != name
    ]
    feature = request.part("guardduty.update_detector", "Features", [{"name": name, "status": request.take("status")}])
    request.call("guardduty.update_detector", DetectorId=detector, Features=[*others, *feature])
    return f"{detector}/{name}", {}


def _update_hub(request: CreateRequest, _hub: dict[str, Any]) -> None:
    if request.take("autoEnableControls") is not None:
        change = {"AutoEnableControls": request.peek("autoEnableControls")}
        request.check("securityhub.update_security_hub_configuration", change)


def _start_recorder(request: CreateRequest) -> Created:
    name = request.take("name")
    operation = "start_configuration_recorder" if request.take("isEnabled") else "stop_configuration_recorder"
    request.call(f"config.{operation}", ConfigurationRecorderName=name)
    return name, {}


def _set_ebs_encryption(request: CreateRequest) -> Created:
    action = "enable" if request.take("enabled") is not False else "disable"
    request.call(f"ec2.{action}_ebs_encryption_by_default")
    return request.region, {}


def _describe_password_policy(request: CreateRequest, _policy: dict[str, Any]) -> dict[str, Any]:
    return {"expirePasswords": bool(request.peek("maxPasswordAge"))}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:guardduty/detector:Detector": ResourceType(
        call="guardduty.create_detector",
        id="{DetectorId}",
        outputs={"arn": "arn:aws:guardduty:{region}:{account}:detector/{DetectorId}", "accountId": "{account}"},
    ),
    "aws:guardduty/detectorFeature:DetectorFeature": ResourceType(create=_enable_feature),
    "aws:securityhub/account:Account": ResourceType(
        call="securityhub.enable_security_hub",
        id="{account}",
        finish=_update_hub,
        outputs={"arn": "arn:aws:securityhub:{region}:{account}:hub/default"},
        dropped=dict.fromkeys(("autoEnableControls", "controlFindingGenerator"), "moto's Security Hub has no settings"),
    ),
    "aws:cfg/recorder:Recorder": ResourceType(
        call="config.put_configuration_recorder", id="{name}", body="ConfigurationRecorder"
    ),
    "aws:cfg/deliveryChannel:DeliveryChannel": ResourceType(
        call="config.put_delivery_channel", id="{name}", body="DeliveryChannel"
    ),
    "aws:cfg/recorderStatus:RecorderStatus": ResourceType(create=_start_recorder),
    "aws:accessanalyzer/analyzer:Analyzer": ResourceType(
        call="accessanalyzer.create_analyzer",
        id="{analyzerName}",
        outputs={"arn": "arn:aws:access-analyzer:{region}:{account}:analyzer/{analyzerName}"},
        modelled="moto has no Access Analyzer",
    ),
    "aws:ebs/encryptionByDefault:EncryptionByDefault": ResourceType(create=_set_ebs_encryption),
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy": ResourceType(
        call="iam.update_account_password_policy", id="iam-account-password-policy", finish=_describe_password_policy
    ),
    "aws:iam/serviceLinkedRole:ServiceLinkedRole": ResourceType(
        call="iam.create_service_linked_role", id="{Arn}", outputs={"name": "{RoleName}", "uniqueId": "{RoleId}"}
    ),
}
