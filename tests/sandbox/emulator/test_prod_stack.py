"""What an auditor finds in the deployed prod stack: copies, backups, budget, network ACLs and the account's guards."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto.s3control.models import s3control_backends

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.paths import REPOSITORY

ACCOUNT, HOME, AWAY = "123456789012", "eu-west-1", "eu-central-1"
DATA, COPY = f"gatehouse-prod-data-{ACCOUNT}-{HOME}", f"gatehouse-prod-data-{ACCOUNT}-{AWAY}"


@pytest.fixture(scope="module")
def prod() -> Iterator[Emulator]:
    """The stack prod, deployed once for all tests of this module."""
    emulator = Emulator.start()
    try:
        run(REPOSITORY, "prod", emulator, preview=False)
        yield emulator
    finally:
        emulator.stop()


def replica(prod: Emulator) -> dict[str, Any]:
    key: dict[str, Any] = prod.client("kms", AWAY).describe_key(KeyId="alias/gatehouse-prod-backup")["KeyMetadata"]
    return key


@pytest.mark.requirement("ECS-12", "CG-20")
def test_the_data_bucket_is_copied_with_its_deletions_under_the_other_regions_key(prod: Emulator) -> None:
    answer = prod.client("s3", HOME).get_bucket_replication(Bucket=DATA)["ReplicationConfiguration"]
    (rule,) = answer["Rules"]
    assert answer["Role"] == f"arn:aws:iam::{ACCOUNT}:role/gatehouse-prod-data-copy"
    assert (rule["Status"], rule["Filter"]["Prefix"]) == ("Enabled", "")
    assert rule["DeleteMarkerReplication"]["Status"] == "Enabled"
    assert rule["SourceSelectionCriteria"]["SseKmsEncryptedObjects"]["Status"] == "Enabled"
    target = rule["Destination"]
    assert target["Bucket"] == f"arn:aws:s3:::{COPY}"
    assert target["EncryptionConfiguration"]["ReplicaKmsKeyID"] == replica(prod)["Arn"]
    assert target["ReplicationTime"] == {"Status": "Enabled", "Time": {"Minutes": 15}}
    assert target["Metrics"] == {"Status": "Enabled", "EventThreshold": {"Minutes": 15}}


@pytest.mark.requirement("ECS-02", "ECS-12")
def test_the_copy_is_as_closed_as_its_source(prod: Emulator) -> None:
    s3, name = prod.client("s3", AWAY), {"Bucket": COPY}
    assert s3.get_bucket_location(**name)["LocationConstraint"] == AWAY
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(**name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == replica(prod)["Arn"]
    assert set(s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_logging(**name)["LoggingEnabled"]["TargetBucket"] == f"gatehouse-prod-logs-{ACCOUNT}-{AWAY}"
    assert s3.get_bucket_lifecycle_configuration(**name)["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 90
    assert "aws:SecureTransport" in s3.get_bucket_policy(**name)["Policy"]
    assert s3.get_bucket_ownership_controls(**name)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.requirement("CG-17")
def test_the_backup_key_is_in_both_regions_and_its_policy_is_each_regions_own(prod: Emulator) -> None:
    here = prod.client("kms", HOME).describe_key(KeyId="alias/gatehouse-prod-backup")["KeyMetadata"]
    there = replica(prod)
    assert here["KeyId"] == there["KeyId"]
    assert there["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    for region, other in ((HOME, AWAY), (AWAY, HOME)):
        policy = prod.client("kms", region).get_key_policy(KeyId=here["KeyId"], PolicyName="default")["Policy"]
        assert f"s3.{region}.amazonaws.com" in policy
        assert f"s3.{other}.amazonaws.com" not in policy


@pytest.mark.requirement("TR-11")
def test_the_audit_key_signs_and_the_signature_is_checked(prod: Emulator) -> None:
    kms, name = prod.client("kms", HOME), {"KeyId": "alias/gatehouse-prod-audit"}
    key = kms.describe_key(**name)["KeyMetadata"]
    assert (key["KeyUsage"], key["KeySpec"], key["SigningAlgorithms"]) == ("SIGN_VERIFY", "ECC_NIST_P256", ["ECDSA_SHA_256"])
    how: dict[str, Any] = {"SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
    signature = kms.sign(**name, Message=b"checkpoint 1", **how)["Signature"]
    assert kms.verify(**name, Message=b"checkpoint 1", Signature=signature, **how)["SignatureValid"]
    assert not kms.verify(**name, Message=b"checkpoint 2", Signature=signature, **how)["SignatureValid"]


@pytest.mark.requirement("CG-20", "ECS-11", "TR-18")
def test_backups_are_daily_kept_and_copied_into_locked_vaults(prod: Emulator) -> None:
    backup = prod.client("backup", HOME)
    (plan,) = backup.list_backup_plans()["BackupPlansList"]
    (rule,) = backup.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"]["Rules"]
    assert rule["ScheduleExpression"] == "cron(0 5 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    (copy,) = rule["CopyActions"]
    assert copy["DestinationBackupVaultArn"] == f"arn:aws:backup:{AWAY}:{ACCOUNT}:backup-vault:gatehouse-prod-backup"
    assert copy["Lifecycle"] == {"DeleteAfterDays": 35}
    for region in (HOME, AWAY):
        vault = prod.client("backup", region).describe_backup_vault(BackupVaultName="gatehouse-prod-backup")
        key = prod.client("kms", region).describe_key(KeyId="alias/gatehouse-prod-backup")["KeyMetadata"]
        assert (vault["Locked"], vault["MinRetentionDays"], vault["EncryptionKeyArn"]) == (True, 35, key["Arn"])


@pytest.mark.requirement("ECS-03")
def test_the_data_tier_takes_packets_from_the_app_tier_alone(prod: Emulator) -> None:
    acl = acls(prod)["gatehouse-prod-data"]
    entering = {(e["CidrBlock"], e["PortRange"]["From"], e["PortRange"]["To"]) for e in allowed(acl, leaving=False)}
    app = {f"10.40.{third}.0/20" for third in (16, 32, 48)}
    assert entering == {(cidr, port, port) for cidr in app for port in (5432, 6379)}
    assert {e["CidrBlock"] for e in allowed(acl, leaving=True)} == app
    assert len(acl["Associations"]) == 3


@pytest.mark.requirement("ECS-03")
@pytest.mark.parametrize("tier", ["edge", "app", "data"])
@pytest.mark.parametrize("port", [22, 3389])
def test_no_tier_takes_administration_from_the_internet(prod: Emulator, tier: str, port: int) -> None:
    for entry in allowed(acls(prod)[f"gatehouse-prod-{tier}"], leaving=False):
        open_to_all = entry["CidrBlock"] == "0.0.0.0/0"
        assert not (open_to_all and entry["PortRange"]["From"] <= port <= entry["PortRange"]["To"])


def acls(prod: Emulator) -> dict[str, dict[str, Any]]:
    found = prod.client("ec2", HOME).describe_network_acls()["NetworkAcls"]
    named = {tag["Value"]: acl for acl in found for tag in acl["Tags"] if tag["Key"] == "Name"}
    assert set(named) == {f"gatehouse-prod-{tier}" for tier in ("edge", "app", "data")}
    return named


def allowed(acl: dict[str, Any], *, leaving: bool) -> list[dict[str, Any]]:
    return [entry for entry in acl["Entries"] if entry["Egress"] == leaving and entry["RuleAction"] == "allow"]


@pytest.mark.requirement("TR-18")
def test_the_database_is_watched_from_the_inside_and_tells_of_its_events(prod: Emulator) -> None:
    rds = prod.client("rds", HOME)
    (instance,) = rds.describe_db_instances()["DBInstances"]
    key = prod.client("kms", HOME).describe_key(KeyId="alias/gatehouse-prod-data")["KeyMetadata"]["Arn"]
    assert (instance["MonitoringInterval"], instance["PerformanceInsightsRetentionPeriod"]) == (30, 465)
    assert (instance["PerformanceInsightsKMSKeyId"], instance["DatabaseInsightsMode"]) == (key, "advanced")
    events = {e["SourceType"]: e for e in rds.describe_event_subscriptions()["EventSubscriptionsList"]}
    assert {"db-instance", "db-parameter-group", "db-security-group"} == set(events)
    assert {"failover", "failure", "deletion"} <= set(events["db-instance"]["EventCategoriesList"])
    assert all(e["Enabled"] and e["SnsTopicArn"].endswith(":gatehouse-prod-notices") for e in events.values())


@pytest.mark.requirement("SS-11")
def test_the_budget_tells_before_and_after_it_is_spent(prod: Emulator) -> None:
    budgets = prod.client("budgets", "us-east-1")
    (budget,) = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert (budget["BudgetLimit"], budget["TimeUnit"]) == ({"Amount": "2000", "Unit": "USD"}, "MONTHLY")
    alerts = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=budget["BudgetName"])["Notifications"]
    told = {(alert["NotificationType"], alert["Threshold"]) for alert in alerts}
    assert told == {("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}


@pytest.mark.requirement("CG-21")
def test_the_account_is_closed_and_watched(prod: Emulator) -> None:
    # The address of S3 Control begins with the account, which cannot be asked of an address that is a number.
    block = s3control_backends[ACCOUNT]["aws"].get_public_access_block(ACCOUNT)
    flags = (block.block_public_acls, block.block_public_policy, block.ignore_public_acls, block.restrict_public_buckets)
    assert flags == (True,) * 4
    assert prod.client("ec2", HOME).get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    policy = prod.client("iam", HOME).get_account_password_policy()["PasswordPolicy"]
    assert (policy["MinimumPasswordLength"], policy["PasswordReusePrevention"], policy["ExpirePasswords"]) == (14, 24, True)
    guard = prod.client("guardduty", HOME)
    (detector,) = guard.list_detectors()["DetectorIds"]
    found = guard.get_detector(DetectorId=detector)
    assert (found["Status"], found["FindingPublishingFrequency"]) == ("ENABLED", "FIFTEEN_MINUTES")
    assert {f["Name"] for f in found["Features"] if f["Status"] == "ENABLED"} >= {"S3_DATA_EVENTS", "RDS_LOGIN_EVENTS"}
    assert prod.client("securityhub", HOME).describe_hub()["HubArn"].endswith(":hub/default")


def test_config_records_everything_into_the_log_bucket(prod: Emulator) -> None:
    config = prod.client("config", HOME)
    (recorder,) = config.describe_configuration_recorders()["ConfigurationRecorders"]
    assert recorder["recordingGroup"]["allSupported"] is True
    assert ":role/aws-service-role/config.amazonaws.com/" in recorder["roleARN"]
    (channel,) = config.describe_delivery_channels()["DeliveryChannels"]
    assert (channel["s3BucketName"], channel["s3KeyPrefix"]) == (f"gatehouse-prod-logs-{ACCOUNT}-{HOME}", "config")
    (status,) = config.describe_configuration_recorder_status()["ConfigurationRecordersStatus"]
    assert status["recording"] is True
