"""The project `account` with every guard in the emulator: boto3 reads the guards back."""

import json
from typing import Any

import pytest
from moto.s3control.models import s3control_backends
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import destroy, update
from pulumi_local.errors import CommandError

from sandbox.emulator.server import Emulator
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import raw_account_settings

ACCOUNT, REGION = "123456789012", "eu-west-1"
BUDGET = {"monthly_usd": 300, "anomaly_usd": 50, "emails": ["finance@acme.dev"]}


@pytest.fixture(scope="module")
def checkpoint(emulator: Emulator) -> Checkpoint:
    deployed = Checkpoint()
    assert {
        step.operation
        for step in deploy(
            emulator, deployed, raw_account_settings({"budget": BUDGET}, guards=True)
        )
    } == {"create"}
    return deployed


def deploy(emulator: Emulator, checkpoint: Checkpoint, settings: dict[str, Any]) -> list[Step]:
    steps: list[Step] = []
    config = {"gatehouse-account:settings": json.dumps(settings)}
    update(REPOSITORY / "account", "main", emulator, checkpoint, report=steps.append, config=config)
    return steps


def assert_guards_are_set(emulator: Emulator) -> None:
    # Read from moto: botocore cannot address S3 Control at an IP address.
    block = s3control_backends[ACCOUNT]["aws"].get_public_access_block(ACCOUNT)
    flags = (
        block.block_public_acls,
        block.block_public_policy,
        block.ignore_public_acls,
        block.restrict_public_buckets,
    )
    assert flags == (True,) * 4
    assert (
        emulator.client("ec2", REGION).get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
        is True
    )
    policy = emulator.client("iam", REGION).get_account_password_policy()["PasswordPolicy"]
    assert (
        policy["MinimumPasswordLength"],
        policy["PasswordReusePrevention"],
        policy["ExpirePasswords"],
    ) == (14, 24, True)
    guardduty = emulator.client("guardduty", REGION)
    (detector,) = guardduty.list_detectors()["DetectorIds"]
    settings = guardduty.get_detector(DetectorId=detector)
    assert (settings["Status"], settings["FindingPublishingFrequency"]) == (
        "ENABLED",
        "FIFTEEN_MINUTES",
    )
    assert {f["Name"] for f in settings["Features"] if f["Status"] == "ENABLED"} >= {
        "S3_DATA_EVENTS",
        "RDS_LOGIN_EVENTS",
    }
    assert emulator.client("securityhub", REGION).describe_hub()["HubArn"].endswith(":hub/default")
    config = emulator.client("config", REGION)
    (recorder,) = config.describe_configuration_recorders()["ConfigurationRecorders"]
    assert recorder["recordingGroup"]["allSupported"] is True
    assert ":role/aws-service-role/config.amazonaws.com/" in recorder["roleARN"]
    (channel,) = config.describe_delivery_channels()["DeliveryChannels"]
    assert (channel["s3BucketName"], channel["s3KeyPrefix"]) == (
        f"gatehouse-account-config-{ACCOUNT}-{REGION}",
        "config",
    )
    (status,) = config.describe_configuration_recorder_status()["ConfigurationRecordersStatus"]
    assert status["recording"] is True


def test_guards_are_set(emulator: Emulator, checkpoint: Checkpoint) -> None:
    assert_guards_are_set(emulator)
    (budget,) = emulator.client("budgets", "us-east-1").describe_budgets(AccountId=ACCOUNT)[
        "Budgets"
    ]
    assert (budget["BudgetName"], budget["BudgetLimit"]["Amount"]) == (
        "gatehouse-account-monthly",
        "300",
    )
    assert checkpoint.resources


def test_second_update_changes_nothing(emulator: Emulator, checkpoint: Checkpoint) -> None:
    assert deploy(emulator, checkpoint, raw_account_settings({"budget": BUDGET}, guards=True)) == []


def test_guards_that_are_no_longer_managed_stay(emulator: Emulator, checkpoint: Checkpoint) -> None:
    settings = raw_account_settings({"guards.config_recorder": True})
    steps = deploy(emulator, checkpoint, settings)
    reports = ("aws:budgets/", "aws:costexplorer/anomalySubscription")
    assert {step.operation for step in steps if not step.type.startswith(reports)} == {"retain"}
    assert len(steps) > 10
    assert_guards_are_set(emulator)
    with pytest.raises(
        CommandError, match="protected"
    ):  # the bucket with the deliveries of AWS Config
        destroy(emulator, checkpoint, lambda step: None)
