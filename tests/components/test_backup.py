"""Backups, replication and network ACLs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from components.iam import backup_roles
from components.iam.roles import USED
from components.naming import Naming
from components.network.network_acls import NetworkAclsArgs, inbound_rules, outbound_rules
from components.settings.loader import parse
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS, raw_settings

NAMES = Naming("prod", "123456789012", "eu-west-1")
REPLICA_NAMES = replace(NAMES, region="eu-central-1")
GRANTS = backup_roles.role_definitions(NAMES, replication_region=REPLICA_NAMES.region)


def statements(document: dict[str, Any] | None) -> list[dict[str, Any]]:
    assert document is not None
    return list(document["Statement"])


def acl(stack: str, **changes: Any) -> NetworkAclsArgs:
    raw = raw_settings(stack, {f"network.{key}": value for key, value in changes.items()})
    return NetworkAclsArgs(
        names=NAMES, network=parse(raw, stack).network, vpc_id="vpc-1", subnets={}
    )


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("role", ["backup", "replication"])
def test_copy_roles_are_limited_to_stack_resources(role: str) -> None:
    permissions = statements(GRANTS[role].permissions)
    assert permissions
    for statement in permissions:
        assert not [a for a in statement["Action"] if "*" in a or a.startswith("kms:")], statement[
            "Sid"
        ]
        if statement["Resource"] == ["*"]:
            assert set(statement["Action"]) == {
                "tag:GetResources",
                "cloudwatch:GetMetricData",
                "events:ListRules",
            }
            continue
        for resource in statement["Resource"]:
            assert (
                "gatehouse-prod" in resource
                or "AwsBackupManagedRule" in resource
                or ":123456789012:" in resource
            )


def test_backup_role_creates_backups_that_aws_backup_does_not_manage() -> None:
    """Without the opt-in of AWS Backup for DynamoDB, a backup job calls CreateBackup."""
    granted = {action for s in statements(GRANTS["backup"].permissions) for action in s["Action"]}
    assert {"dynamodb:CreateBackup", "dynamodb:StartAwsBackupJob"} <= granted
    assert {"dynamodb:CreateBackup", "dynamodb:StartAwsBackupJob"} <= set(USED)


@pytest.mark.requirement("ECS-12")
def test_replication_role_reads_source_and_writes_replica() -> None:
    source, replica = NAMES.bucket_arn("data"), REPLICA_NAMES.bucket_arn("data")
    grants = {
        s["Sid"]: (set(s["Action"]), s["Resource"])
        for s in statements(GRANTS["replication"].permissions)
    }
    assert grants["WriteCopies"] == (
        {"s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"},
        [f"{replica}/*"],
    )
    assert {tuple(resources) for sid, (_, resources) in grants.items() if sid != "WriteCopies"} == {
        (source,),
        (f"{source}/*",),
    }
    (trust,) = statements(GRANTS["replication"].trust_policy)
    assert trust["Principal"] == {"Service": "s3.amazonaws.com"}
    assert "Condition" not in trust


@pytest.mark.requirement("ECS-12")
@pytest.mark.parametrize("bucket", ["data", "replica-data"])
def test_replication_waits_for_versioning_of_both_buckets(bucket: str) -> None:
    program = run("prod")
    (replication,) = program.of_type("s3/bucketReplicationConfig:BucketReplicationConfig")
    versioning = program.get("s3/bucketVersioning:BucketVersioning", bucket)
    assert versioning.urn in replication.dependencies


def test_no_replication_role_without_replication() -> None:
    assert set(backup_roles.role_definitions(NAMES, replication_region="")) == {"backup"}
    assert set(backup_roles.key_statements(NAMES, replication_region="", replica_region="")) == {
        "data",
        "backup",
    }


@pytest.mark.requirement("CG-17")
def test_replication_uses_source_key_and_replica_key() -> None:
    users = backup_roles.key_statements(
        NAMES, replication_region=REPLICA_NAMES.region, replica_region=REPLICA_NAMES.region
    )
    for key, action, names in (
        ("data", "kms:Decrypt", NAMES),
        ("replica", "kms:Encrypt", REPLICA_NAMES),
    ):
        (statement,) = (s for s in users[key] if s["Sid"] == "AllowReplication")
        assert statement["Action"] == [action]
        assert statement["Principal"] == {
            "AWS": "arn:aws:iam::123456789012:role/gatehouse-prod-replication"
        }
        assert statement["Condition"]["StringEquals"] == {
            "kms:CallerAccount": "123456789012",
            "kms:ViaService": f"s3.{names.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": names.bucket_arn("data"),
        }


@pytest.mark.requirement("CG-20")
def test_vault_policy_denies_backup_deletion() -> None:
    first, second = statements(backup_roles.vault_policy(NAMES))
    assert (first["Effect"], first["Principal"], "Condition" in first) == ("Deny", "*", False)
    assert {
        "backup:DeleteRecoveryPoint",
        "backup:UpdateRecoveryPointLifecycle",
        "backup:DeleteBackupVault",
    } <= set(first["Action"])
    assert second["Condition"] == {"StringNotEquals": {"aws:PrincipalAccount": "123456789012"}}


@pytest.mark.requirement("CG-20", "ECS-11")
@pytest.mark.parametrize("stack", STACKS)
def test_backup_plan_contains_every_data_store(stack: str) -> None:
    program = run(stack)
    (selection,) = program.of_type("backup/selection:Selection")
    assert set(selection.inputs["resources"]) == {
        f"arn:aws:mock:::{store}" for store in ("database", "secret-links", "data")
    }
    (plan,) = program.of_type("backup/plan:Plan")
    days = parse(raw_settings(stack), stack).backup.retention_days
    assert plan.inputs["rules"][0]["lifecycle"] == {"deleteAfter": days}


@pytest.mark.parametrize(
    ("stack", "vaults", "locked"),
    [("dev", {"main"}, set()), ("prod", {"main", "replica"}, {"main", "replica"})],
)
def test_vaults_and_locks_follow_settings(stack: str, vaults: set[str], locked: set[str]) -> None:
    program = run(stack)
    assert {a.name for a in program.of_type("backup/vault:Vault")} == vaults
    for kind in ("VaultLockConfiguration", "VaultPolicy"):
        assert {
            a.name for a in program.of_type(f"backup/{kind[0].lower()}{kind[1:]}:{kind}")
        } == locked
    (notifications,) = program.of_type("backup/vaultNotifications:VaultNotifications")
    # AWS Backup sends no events with the names BACKUP_JOB_FAILED and BACKUP_JOB_EXPIRED
    # (PutBackupVaultNotifications).
    assert notifications.inputs["backupVaultEvents"] == [
        *(
            "COPY_JOB_FAILED",
            "RESTORE_JOB_COMPLETED",
            "RECOVERY_POINT_MODIFIED",
            "S3_BACKUP_OBJECT_FAILED",
        ),
    ]
    pattern = json.loads(
        program.get("cloudwatch/eventRule:EventRule", "backup-failed").inputs["eventPattern"]
    )
    assert {"FAILED", "EXPIRED", "ABORTED"} == set(pattern["detail"]["state"])


def test_acl_allows_core_networks_from_app_tier_only() -> None:
    args = acl("dev", core_networks=["10.99.0.0/16"])
    tiers = {
        tier
        for tier in ("edge", "app", "data")
        for e in outbound_rules(tier, args)
        if e.cidr == "10.99.0.0/16"
    }
    assert tiers == {"app"}


def test_acl_is_within_rule_quota() -> None:
    args = acl("prod", core_networks=[f"10.{number}.0.0/16" for number in range(100, 110)])
    assert all(
        len(list(rules(tier, args))) <= 20
        for tier in ("edge", "app", "data")
        for rules in (inbound_rules, outbound_rules)
    )
