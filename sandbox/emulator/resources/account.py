"""Account-wide settings: GuardDuty, Security Hub, Config, Access Analyzer, EBS encryption, IAM password policy and roles."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _describe_detector(request: CreateRequest, detector: dict[str, Any]) -> dict[str, Any]:
    return {"arn": request.arn("guardduty", f"detector/{detector['DetectorId']}"), "accountId": request.account}


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


_FEATURES = ("S3_DATA_EVENTS", "EKS_AUDIT_LOGS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS")


def _enable_security_hub(request: CreateRequest) -> Created:
    parameters = request.parameters("securityhub.enable_security_hub")
    request.call("securityhub.enable_security_hub", parameters)
    if request.take("autoEnableControls") is not None:
        change = {"AutoEnableControls": request.peek("autoEnableControls")}
        request.check("securityhub.update_security_hub_configuration", change)
    return request.account, {"arn": request.arn("securityhub", "hub/default")}


def _put_recorder(request: CreateRequest) -> Created:
    body = {"name": request.take("name"), "roleARN": request.take("roleArn"), "recordingGroup": request.take("recordingGroup")}
    recorder = request.part("config.put_configuration_recorder", "ConfigurationRecorder", body)
    request.call("config.put_configuration_recorder", ConfigurationRecorder=recorder)
    return recorder["name"], {}


def _put_delivery_channel(request: CreateRequest) -> Created:
    body = {key: request.peek(key) for key in ("name", "s3BucketName", "s3KeyPrefix", "s3KmsKeyArn") if request.take(key)}
    channel = request.part("config.put_delivery_channel", "DeliveryChannel", body)
    request.call("config.put_delivery_channel", DeliveryChannel=channel)
    return channel["name"], {}


def _start_recorder(request: CreateRequest) -> Created:
    name = request.take("name")
    operation = "start_configuration_recorder" if request.take("isEnabled") else "stop_configuration_recorder"
    request.call(f"config.{operation}", ConfigurationRecorderName=name)
    return name, {}


def _create_analyzer(request: CreateRequest) -> Created:
    operation = "accessanalyzer.create_analyzer"
    request.check(operation, request.parameters(operation))
    name = request.peek("analyzerName")
    return name, {"arn": request.arn("access-analyzer", f"analyzer/{name}")}


def _set_ebs_encryption(request: CreateRequest) -> Created:
    action = "enable" if request.take("enabled") is not False else "disable"
    request.call(f"ec2.{action}_ebs_encryption_by_default")
    return request.region, {}


def _set_password_policy(request: CreateRequest) -> Created:
    operation = "iam.update_account_password_policy"
    request.call(operation, request.parameters(operation, names={"passwordReusePrevention": "PasswordReusePrevention"}))
    return "iam-account-password-policy", {"expirePasswords": bool(request.peek("maxPasswordAge"))}


def _create_linked_role(request: CreateRequest) -> Created:
    parameters = request.parameters("iam.create_service_linked_role", names={"awsServiceName": "AWSServiceName"})
    role = request.call("iam.create_service_linked_role", parameters)["Role"]
    return role["Arn"], {"arn": role["Arn"], "name": role["RoleName"], "path": role["Path"], "uniqueId": role["RoleId"]}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:guardduty/detector:Detector": ResourceType(
        call="guardduty.create_detector", id="{DetectorId}", finish=_describe_detector, names={"enable": "Enable"}
    ),
    "aws:guardduty/detectorFeature:DetectorFeature": ResourceType(create=_enable_feature),
    "aws:securityhub/account:Account": ResourceType(
        create=_enable_security_hub,
        dropped={
            "autoEnableControls": "moto's Security Hub has no settings",
            "controlFindingGenerator": "moto's Security Hub has no settings",
        },
    ),
    "aws:cfg/recorder:Recorder": ResourceType(create=_put_recorder),
    "aws:cfg/deliveryChannel:DeliveryChannel": ResourceType(create=_put_delivery_channel),
    "aws:cfg/recorderStatus:RecorderStatus": ResourceType(create=_start_recorder),
    "aws:accessanalyzer/analyzer:Analyzer": ResourceType(create=_create_analyzer, modelled="moto has no Access Analyzer"),
    "aws:ebs/encryptionByDefault:EncryptionByDefault": ResourceType(create=_set_ebs_encryption),
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy": ResourceType(create=_set_password_policy),
    "aws:iam/serviceLinkedRole:ServiceLinkedRole": ResourceType(create=_create_linked_role),
}
