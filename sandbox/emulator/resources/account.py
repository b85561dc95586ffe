"""What guards a whole account: GuardDuty, Security Hub, Config, Access Analyzer, disk encryption, password policy."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _detector(make: Make, answer: dict[str, Any]) -> dict[str, Any]:
    identity = answer["DetectorId"]
    return {"arn": f"arn:aws:guardduty:{make.region}:{make.account}:detector/{identity}", "accountId": make.account}


def _feature(make: Make) -> tuple[str, dict[str, Any]]:
    """moto replaces all features by the ones it is sent, so those it has are sent with the new one."""
    identity, name = make.take("detectorId"), make.take("name")
    held = make.call("guardduty.get_detector", DetectorId=identity)["Features"]
    kept = [
        {"Name": item["Name"], "Status": item["Status"]} for item in held if item["Name"] in _FEATURES and item["Name"] != name
    ]
    feature = make.part("guardduty.update_detector", "Features", [{"name": name, "status": make.take("status")}])
    make.call("guardduty.update_detector", DetectorId=identity, Features=[*kept, *feature])
    return f"{identity}/{name}", {}


_FEATURES = ("S3_DATA_EVENTS", "EKS_AUDIT_LOGS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS")


def _hub(make: Make) -> tuple[str, dict[str, Any]]:
    request = make.parameters("securityhub.enable_security_hub")
    make.call("securityhub.enable_security_hub", request)
    if make.take("autoEnableControls") is not None:
        change = {"AutoEnableControls": make.peek("autoEnableControls")}
        make.check("securityhub.update_security_hub_configuration", change)
    return make.account, {"arn": f"arn:aws:securityhub:{make.region}:{make.account}:hub/default"}


def _recorder(make: Make) -> tuple[str, dict[str, Any]]:
    body = {"name": make.take("name"), "roleARN": make.take("roleArn"), "recordingGroup": make.take("recordingGroup")}
    recorder = make.part("config.put_configuration_recorder", "ConfigurationRecorder", body)
    make.call("config.put_configuration_recorder", ConfigurationRecorder=recorder)
    return recorder["name"], {}


def _channel(make: Make) -> tuple[str, dict[str, Any]]:
    body = {key: make.peek(key) for key in ("name", "s3BucketName", "s3KeyPrefix", "s3KmsKeyArn") if make.take(key)}
    channel = make.part("config.put_delivery_channel", "DeliveryChannel", body)
    make.call("config.put_delivery_channel", DeliveryChannel=channel)
    return channel["name"], {}


def _recording(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("name")
    operation = "start_configuration_recorder" if make.take("isEnabled") else "stop_configuration_recorder"
    make.call(f"config.{operation}", ConfigurationRecorderName=name)
    return name, {}


def _analyzer(make: Make) -> tuple[str, dict[str, Any]]:
    operation = "accessanalyzer.create_analyzer"
    make.check(operation, make.parameters(operation))
    name = make.peek("analyzerName")
    return name, {"arn": f"arn:aws:access-analyzer:{make.region}:{make.account}:analyzer/{name}"}


def _disks(make: Make) -> tuple[str, dict[str, Any]]:
    word = "enable" if make.take("enabled") is not False else "disable"
    make.call(f"ec2.{word}_ebs_encryption_by_default")
    return make.region, {}


def _passwords(make: Make) -> tuple[str, dict[str, Any]]:
    operation = "iam.update_account_password_policy"
    make.call(operation, make.parameters(operation, names={"passwordReusePrevention": "PasswordReusePrevention"}))
    return "iam-account-password-policy", {"expirePasswords": bool(make.peek("maxPasswordAge"))}


def _linked_role(make: Make) -> tuple[str, dict[str, Any]]:
    parameters = make.parameters("iam.create_service_linked_role", names={"awsServiceName": "AWSServiceName"})
    role = make.call("iam.create_service_linked_role", parameters)["Role"]
    return role["Arn"], {"arn": role["Arn"], "name": role["RoleName"], "path": role["Path"], "uniqueId": role["RoleId"]}


ROWS: dict[str, Row] = {
    "aws:guardduty/detector:Detector": Row(
        call="guardduty.create_detector", id="{DetectorId}", then=_detector, names={"enable": "Enable"}
    ),
    "aws:guardduty/detectorFeature:DetectorFeature": Row(make=_feature),
    "aws:securityhub/account:Account": Row(
        make=_hub,
        dropped={
            "autoEnableControls": "moto's Security Hub is on or off",
            "controlFindingGenerator": "moto's Security Hub is on or off",
        },
    ),
    "aws:cfg/recorder:Recorder": Row(make=_recorder),
    "aws:cfg/deliveryChannel:DeliveryChannel": Row(make=_channel),
    "aws:cfg/recorderStatus:RecorderStatus": Row(make=_recording),
    "aws:accessanalyzer/analyzer:Analyzer": Row(make=_analyzer, modelled="moto has no Access Analyzer"),
    "aws:ebs/encryptionByDefault:EncryptionByDefault": Row(make=_disks),
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy": Row(make=_passwords),
    "aws:iam/serviceLinkedRole:ServiceLinkedRole": Row(make=_linked_role),
}
