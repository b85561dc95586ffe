"""Who makes copies of data: the roles of S3 replication and of AWS Backup, and what the keys let them do, made from names
alone."""

from collections.abc import Mapping
from dataclasses import replace

from components.iam.bucket_policies import key_use
from components.iam.documents import Document, Statement, allow, deny, document, trust
from components.iam.role_policies import RoleDefinition
from components.naming import Naming

REPLICATION = "data-copy"
BACKUP = "backup"
VAULT = "backup"
"""Name (Naming.name's `thing`) of the vault in both regions."""


def role_definitions(names: Naming, *, replicated: str) -> dict[str, RoleDefinition]:
    """The roles by name. replicated: region to which the data bucket is copied; "" copies nothing."""
    backup = RoleDefinition(
        "Takes backups of the stores and copies them",
        trust("backup.amazonaws.com", account=names.account),
        backup_permissions(names),
    )
    if not replicated:
        return {BACKUP: backup}
    copying = trust("s3.amazonaws.com", account=names.account, source_arn=names.bucket_arn("data"))
    permissions = replication_permissions(names, replace(names, region=replicated))
    return {BACKUP: backup, REPLICATION: RoleDefinition("Copies the data bucket to the second region", copying, permissions)}


def replication_permissions(names: Naming, away: Naming) -> Document:
    """S3 replication: reads versions of one bucket and writes copies into one other (S3 user guide, "Setting up
    permissions for live replication")."""
    source, target = names.bucket_arn("data"), away.bucket_arn("data")
    return document(
        allow("LookAtSource", ["s3:GetReplicationConfiguration", "s3:ListBucket"], [source]),
        allow(
            "ReadVersions",
            ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"],
            [f"{source}/*"],
        ),
        allow("WriteCopies", ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], [f"{target}/*"]),
    )


def backup_permissions(names: Naming) -> Document:
    """AWS Backup on database, table and data bucket, and nothing else of the account.

    Source: the statements of the AWS-managed policies AWSBackupServiceRolePolicyForBackup and ...ForS3Backup for these
    three kinds of store, with our ARNs in the place of theirs. Restoring is a person's act, with a role of its own.
    """
    bucket = names.bucket_arn("data")
    # A copy is made in the region it goes to.
    snapshots = f"arn:aws:rds:*:{names.account}:snapshot:awsbackup:*"
    table = names.table_arn("tokens")
    return document(
        allow("Database", ["rds:CreateDBSnapshot", "rds:ListTagsForResource"], [names.database_arn]),
        # Looking at databases and snapshots asks for both kinds of resource, by name or all of them.
        allow(
            "SeeDatabases",
            ["rds:DescribeDBInstances", "rds:DescribeDBSnapshots"],
            [f"arn:aws:rds:*:{names.account}:{kind}:*" for kind in ("db", "snapshot")],
        ),
        allow(
            "DatabaseSnapshots",
            [
                *("rds:CreateDBSnapshot", "rds:CopyDBSnapshot", "rds:DeleteDBSnapshot"),
                *("rds:AddTagsToResource", "rds:ListTagsForResource"),
            ],
            [snapshots],
        ),
        allow("Table", ["dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:StartAwsBackupJob"], [table]),
        allow("TableBackups", ["dynamodb:DescribeBackup", "dynamodb:DeleteBackup"], [f"{table}/backup/*"]),
        allow(
            "Bucket",
            [
                *("s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketLocation"),
                *("s3:GetBucketAcl", "s3:GetBucketTagging", "s3:GetInventoryConfiguration", "s3:PutInventoryConfiguration"),
                *("s3:GetBucketNotification", "s3:PutBucketNotification"),
            ],
            [bucket],
        ),
        allow(
            "Objects",
            [
                *("s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectTagging"),
                *("s3:GetObjectVersion", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"),
            ],
            [f"{bucket}/*"],
        ),
        allow(
            "BucketChanges",
            [
                *("events:DescribeRule", "events:PutRule", "events:DeleteRule", "events:EnableRule", "events:DisableRule"),
                *("events:PutTargets", "events:RemoveTargets", "events:ListTargetsByRule"),
            ],
            [names.arn("events", "rule/AwsBackupManagedRule*")],
        ),
        allow(
            "Vaults",
            ["backup:DescribeBackupVault", "backup:CopyIntoBackupVault"],
            [f"arn:aws:backup:*:{names.account}:backup-vault:{names.name(VAULT)}"],
        ),
        allow("RecoveryPoints", ["backup:TagResource"], [f"arn:aws:backup:*:{names.account}:recovery-point:*"]),
        # These three know no resource (Service Authorization Reference): what there is to back up, how large a bucket is,
        # and whether the rules above exist already.
        allow("Look", ["tag:GetResources", "cloudwatch:GetMetricData", "events:ListRules"], ["*"]),
    )


def key_users(names: Naming, *, replicated: str, away: str) -> Mapping[str, tuple[Statement, ...]]:
    """What copying asks of the keys, by key; `away` is the backup key's replica. replicated, away: the regions to which
    the bucket is copied, and anything at all; "" is none."""
    users = {
        "data": (*_backup_uses(names, ("rds", "dynamodb", "s3")), *(_replicates("kms:Decrypt", names) if replicated else ())),
        "backup": _backup_uses(names, ("backup", "rds", "dynamodb", "s3")),
    }
    if away:
        there = replace(names, region=away)
        writes = _replicates("kms:Encrypt", there) if replicated else ()
        users["away"] = (*_backup_uses(there, ("backup", "rds", "dynamodb", "s3")), *writes)
    return users


def vault_policy(names: Naming) -> Document:
    """Nobody deletes a backup or shortens its life, and no other account puts anything in. Expiry is AWS Backup's own act
    and goes on."""
    return document(
        deny(
            "NobodyDeletes",
            [
                *("backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle", "backup:DisassociateRecoveryPoint"),
                *("backup:DeleteBackupVault", "backup:DeleteBackupVaultLockConfiguration"),
            ],
            ["*"],
        ),
        deny(
            "OnlyOurAccountCopiesIn",
            ["backup:CopyIntoBackupVault"],
            ["*"],
            conditions={"StringNotEquals": {"aws:PrincipalAccount": names.account}},
        ),
    )


def _backup_uses(names: Naming, services: tuple[str, ...]) -> tuple[Statement, ...]:
    role = {"AWS": names.role_arn(BACKUP)}
    through = [f"{service}.{names.region}.amazonaws.com" for service in services]
    caller = {"kms:CallerAccount": names.account, "kms:ViaService": through}
    return (
        allow(
            "BackupReadsAndWrites",
            ["kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"],
            ["*"],
            principal=role,
            conditions={"StringEquals": caller},
        ),
        allow(
            "BackupKeepsGrants",
            ["kms:CreateGrant"],
            ["*"],
            principal=role,
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}, "StringEquals": caller},
        ),
    )


def _replicates(action: str, names: Naming) -> tuple[Statement, ...]:
    """One end of the copying."""
    return (key_use("DataCopy", names, "data", [action], names.role_arn(REPLICATION)),)
