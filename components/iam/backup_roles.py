"""Roles for S3 replication and AWS Backup, with the key policy statements and the vault policy that
they need.
"""

from collections.abc import Mapping

from components.context import Stack
from components.iam.documents import (
    Document,
    Statement,
    allow,
    allow_key_use,
    deny,
    document,
    trust,
)
from components.iam.key_policies import (
    AWS_RESOURCE_GRANT,
    SERVICES,
    bucket_key_use,
    caller_conditions,
)
from components.iam.role_policies import RoleDefinition
from components.naming import Naming

REPLICATION = "replication"
BACKUP = "backup"
VAULT = "backup"
"""Resource name of the vault in both regions."""


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    """Return the role of AWS Backup and, with replication, the role of S3, keyed by resource
    name.
    """
    names, region = stack.names, stack.settings.replication_region
    roles = {
        BACKUP: RoleDefinition(
            "Creates and copies backups",
            trust("backup.amazonaws.com"),
            backup_permissions(names, stack.settings.recovery.restore.database_key_arn),
        )
    }
    if region:
        roles[REPLICATION] = RoleDefinition(
            "Replicates the data bucket to the second region",
            trust("s3.amazonaws.com"),
            replication_permissions(names, names.in_region(region)),
        )
    return roles


def replication_permissions(names: Naming, replica: Naming) -> Document:
    """Return the permissions for S3 replication. Source: S3 User Guide, "Setting up permissions for
    live replication".
    """
    source, target = names.bucket_arn("data"), replica.bucket_arn("data")
    return document(
        allow(
            "ReadReplicationConfiguration", "s3:GetReplicationConfiguration ListBucket", [source]
        ),
        allow(
            "ReadVersions",
            "s3:GetObjectVersionForReplication GetObjectVersionAcl GetObjectVersionTagging",
            [f"{source}/*"],
        ),
        allow("WriteCopies", "s3:ReplicateObject ReplicateDelete ReplicateTags", [f"{target}/*"]),
    )


def backup_permissions(names: Naming, database_key_arn: str | None) -> Document:
    """Return the permissions for AWS Backup on the database, the table and the data bucket.

    Source: the AWS managed policies AWSBackupServiceRolePolicyForBackup and
    AWSBackupServiceRolePolicyForS3Backup, limited to the stack's ARNs. Restores require a separate
    role. `database_key_arn` belongs to another stack, whose key policy does not name the role.
    """
    bucket, table = names.bucket_arn("data"), names.table_arn("tokens")

    def any_region(service: str, resource: str) -> str:
        """Return an ARN for all regions, because copies are made in the other region."""
        return names.any_arn(service, resource, "*")

    snapshots = (
        "rds:CreateDBSnapshot CopyDBSnapshot DeleteDBSnapshot AddTagsToResource ListTagsForResource"
    )
    read_bucket = (
        "s3:ListBucket ListBucketVersions GetBucketVersioning GetBucketLocation GetBucketAcl "
        "GetBucketTagging GetInventoryConfiguration PutInventoryConfiguration "
        "GetBucketNotification ListTagsForResource PutBucketNotification"
    )
    read_objects = (
        "s3:GetObject GetObjectAcl GetObjectTagging GetObjectVersion "
        "GetObjectVersionAcl GetObjectVersionTagging"
    )
    rules = (
        "events:DescribeRule PutRule DeleteRule EnableRule DisableRule PutTargets "
        "RemoveTargets ListTargetsByRule"
    )
    # AWS authorizes the Describe actions on both resource types.
    databases = [any_region("rds", "db:*"), any_region("rds", "snapshot:*")]
    through_rds = caller_conditions(names, *SERVICES["backup"])
    use_key = "kms:Decrypt GenerateDataKey ReEncryptFrom ReEncryptTo DescribeKey"
    database_key = [database_key_arn] if database_key_arn else []
    grants = AWS_RESOURCE_GRANT | through_rds
    keys = (
        allow("DatabaseKey", use_key, database_key, conditions=through_rds),
        allow("DatabaseKeyGrants", "kms:CreateGrant", database_key, conditions=grants),
    )
    vaults = [any_region("backup", f"backup-vault:{names.name(VAULT)}")]
    points = [any_region("backup", "recovery-point:*")]
    # AWS authorizes a copy on the recovery point, whose ARN depends on the service.
    copied = [*points, names.arn("rds", "snapshot:awsbackup:*"), f"{table}/backup/*"]
    return document(
        allow("Database", "rds:CreateDBSnapshot ListTagsForResource", [names.database_arn]),
        allow("DescribeDatabases", "rds:DescribeDBInstances DescribeDBSnapshots", databases),
        allow("DatabaseSnapshots", snapshots, [any_region("rds", "snapshot:awsbackup:*")]),
        # CreateBackup applies in a region where AWS Backup does not manage the backups of DynamoDB,
        # StartAwsBackupJob elsewhere.
        allow(
            "Table",
            "dynamodb:CreateBackup DescribeTable ListTagsOfResource StartAwsBackupJob",
            [table],
        ),
        allow("TableBackups", "dynamodb:DescribeBackup DeleteBackup", [f"{table}/backup/*"]),
        allow("Bucket", read_bucket, [bucket]),
        allow("Objects", read_objects, [f"{bucket}/*"]),
        allow("BackupEventRules", rules, [names.arn("events", "rule/AwsBackupManagedRule*")]),
        allow("Vaults", "backup:DescribeBackupVault CopyIntoBackupVault", vaults),
        allow("RecoveryPoints", "backup:TagResource", points),
        allow("Copies", "backup:CopyFromBackupVault", copied),
        *(keys if database_key_arn else ()),
        # These actions do not support resource-level permissions (Service Authorization Reference).
        allow(
            "ListResources",
            [
                *("tag:GetResources", "cloudwatch:GetMetricData", "events:ListRules"),
                "s3:ListAllMyBuckets",
            ],
            ["*"],
        ),
    )


def key_statements(stack: Stack) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements, keyed by KMS key. `replica` is the replica of the backup
    key.
    """
    names, replica_region = stack.names, stack.settings.replica_region
    statements = {
        "data": _backup_use(names, ("rds", "dynamodb", "s3")),
        "backup": _backup_use(names, SERVICES["backup"]),
    }
    replica, role = names.in_region(replica_region), names.role_arn(REPLICATION)
    if replica_region:
        statements["replica"] = _backup_use(replica, SERVICES["backup"])
    if stack.settings.replication_region:
        statements["data"] += (
            bucket_key_use("AllowReplication", names, "data", "kms:Decrypt", role),
        )
        statements["replica"] += (
            bucket_key_use("AllowReplication", replica, "data", "kms:Encrypt", role),
        )
    return statements


def vault_policy(names: Naming) -> Document:
    """Return the vault policy, which denies the deletion of recovery points, and denies other
    accounts permission to copy recovery points into the vault. The policy does not affect
    expiration by lifecycle."""
    deletion = (
        "backup:DeleteRecoveryPoint UpdateRecoveryPointLifecycle DisassociateRecoveryPoint "
        "DeleteBackupVault DeleteBackupVaultLockConfiguration"
    )
    other_account = {"StringNotEquals": {"aws:PrincipalAccount": names.account}}
    return document(
        deny("DenyDeletion", deletion, ["*"]),
        deny(
            "DenyCopiesFromOtherAccounts",
            "backup:CopyIntoBackupVault",
            ["*"],
            conditions=other_account,
        ),
    )


def _backup_use(names: Naming, services: tuple[str, ...]) -> tuple[Statement, ...]:
    role, through_services = {"AWS": names.role_arn(BACKUP)}, caller_conditions(names, *services)
    use = "kms:Decrypt GenerateDataKey* ReEncrypt* DescribeKey"
    return (
        allow_key_use("AllowBackupUse", use, role, through_services),
        allow_key_use(
            "AllowBackupGrants", "kms:CreateGrant", role, AWS_RESOURCE_GRANT | through_services
        ),
    )
