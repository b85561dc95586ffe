"""Settings of keys, secrets, data stores and backups."""

from typing import Annotated

from components.settings.fields import (
    Flag,
    Production,
    Section,
    by_environment,
    choice,
    integer,
    prod_requires,
    prod_requires_at_least,
    string,
    strings,
)

DATABASE_PORT, CACHE_PORT = 5432, 6379
DAYS = integer(1, 3650, "days")
ROLE_ARN = r"arn:aws:iam::\d{12}:role/[\w+=,.@/*-]+"


class ProtectionSettings(Section):
    """Protection of resources with data from deletion by a deployment: keys, secrets, database, cache, tables, buckets, backup
    vaults, image repositories, log groups, the audit trail and the hosted zone, and of the policies, versioning and locks of
    buckets and vaults."""

    protect: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Pulumi's `protect`: an operation that would delete or replace the resource fails. To remove one resource, such as the log
    group of a deleted Core, run `pulumi state unprotect <URN>` first."""
    retain_on_delete: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Pulumi's `retainOnDelete`: a resource that is removed from the program stays in AWS."""


class KmsKeysSettings(Section):
    """The KMS keys."""

    rotation_days: Annotated[int, integer(90, 365, "days")] = 365
    """Days between automatic rotations of the key material. Earlier key material remains available for decryption."""
    deletion_window_days: Annotated[int, integer(7, 30, "days"), prod_requires(30, "days")] = by_environment(7, 7, 30)
    """Waiting period in days before a scheduled key deletion takes effect. After that, data encrypted under the key is lost."""


class SecretsSettings(Section):
    """The secrets that the rotation function creates: pepper, session key and bootstrap token."""

    rotation_days: Annotated[int, integer(1, 30, "days")] = 30
    """Days between rotations. The latest 100 peppers and the latest 3 session keys remain valid."""
    recovery_window_days: Annotated[int, integer(7, 30, "days"), prod_requires(30, "days")] = by_environment(7, 7, 30)
    """Days in which a deleted secret can be restored."""
    operators: Annotated[tuple[str, ...], strings(ROLE_ARN, 1, 10, "ARNs of IAM roles, * allowed in the name")]
    """IAM roles that may read the bootstrap token, for the first sign-in."""


class DatabaseSettings(Section):
    """The Amazon RDS for PostgreSQL instance."""

    engine_version: Annotated[str, string(r"1[6-9](\.\d+)?", 'a PostgreSQL version from 16, in quotes, such as "17"')] = "17"
    """PostgreSQL version. With a major version alone, RDS chooses the minor version. Minor upgrades are automatic."""
    instance_class: Annotated[str, string(r"db\.[a-z0-9]+\.[a-z0-9]+", 'an RDS instance class such as "db.t4g.small"')]
    """RDS instance class, which determines CPU and memory. A Multi-AZ standby has the same class."""
    storage_gib: Annotated[int, integer(20, 65536, "GiB")]
    """Initial storage in GiB (gp3). RDS cannot reduce it."""
    storage_max_gib: Annotated[int, integer(20, 65536, "GiB")]
    """Limit of storage autoscaling in GiB. An alarm is raised when less than a tenth of the storage is free."""
    multi_az: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """Multi-AZ deployment: a standby in another zone, with automatic failover. Doubles the price of the instance."""
    backup_retention_days: Annotated[int, integer(1, 35, "days"), prod_requires(35, "days")] = by_environment(7, 14, 35)
    """Days that automated backups are retained. Point-in-time recovery covers this period."""
    deletion_protection: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """RDS rejects every request to delete the instance."""
    final_snapshot: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """RDS takes a final snapshot when the instance is deleted."""
    monitoring_interval_s: Annotated[
        int, choice(0, 1, 5, 10, 15, 30, 60), Production("1, 5, 10, 15, 30 or 60", lambda interval: interval > 0)
    ] = by_environment(0, 60, 30)
    """Interval of Enhanced Monitoring in seconds. 0 disables it."""
    slow_query_threshold_ms: Annotated[int, integer(10, 60000, "milliseconds")] = 500
    """Duration in milliseconds from which a statement is logged as slow."""
    insights: Annotated[str, choice("standard", "advanced"), prod_requires("advanced")] = by_environment(
        "standard", "standard", "advanced"
    )
    """CloudWatch Database Insights mode. `standard` retains query statistics for 7 days at no charge. `advanced` retains them
    for 15 months with execution plans and locks, for about 9 USD a month for each vCPU."""
    proxy: Flag = False
    """Tasks connect through RDS Proxy, which pools connections and reduces failover time to seconds. Useful from about 50 tasks.
    Costs at least 22 USD a month."""


class CacheSettings(Section):
    """The Amazon ElastiCache for Valkey replication group."""

    engine_version: Annotated[str, string(r"(7\.2|8\.\d)", 'a Valkey version in quotes, "7.2" or "8.0" and newer')] = "8.0"
    """Valkey version."""
    node_type: Annotated[str, string(r"cache\.[a-z0-9]+\.[a-z0-9]+", 'an ElastiCache node type such as "cache.t4g.micro"')]
    """ElastiCache node type, which determines CPU and memory. Rate limits need little of either."""
    replicas: Annotated[int, integer(0, 5, "replicas"), prod_requires_at_least(1, "replicas")] = by_environment(0, 1, 1)
    """Read replicas. With at least one, the group is Multi-AZ with automatic failover."""
    snapshot_retention_days: Annotated[int, integer(0, 35, "days"), prod_requires_at_least(7, "days")] = by_environment(1, 7, 14)
    """Days that daily snapshots are retained. 0 disables snapshots."""


class SecretLinksTableSettings(Section):
    """The Amazon DynamoDB table of secret links."""

    recovery_days: Annotated[int, integer(1, 35, "days"), prod_requires(35, "days")] = by_environment(7, 14, 35)
    """Period of point-in-time recovery in days."""
    deletion_protection: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """DynamoDB rejects every request to delete the table."""


class BucketsSettings(Section):
    """The data, log and trail buckets."""

    noncurrent_version_days: Annotated[int, DAYS] = by_environment(7, 30, 90)
    """Days that an overwritten or deleted object can be restored."""
    log_retention_days: Annotated[int, DAYS] = by_environment(30, 90, 400)
    """Days that access logs are retained."""
    trail_retention_days: Annotated[int, DAYS] = by_environment(90, 365, 731)
    """Days that the log files of AWS CloudTrail are retained."""
    object_lock_days: Annotated[int, DAYS, prod_requires_at_least(365, "days")] = by_environment(1, 30, 365)
    """Days in which CloudTrail log files cannot be deleted (S3 Object Lock)."""
    object_lock_mode: Annotated[str, choice("GOVERNANCE", "COMPLIANCE")] = by_environment(
        "GOVERNANCE", "GOVERNANCE", "COMPLIANCE"
    )
    """Retention mode of S3 Object Lock. A principal with a special permission can bypass `GOVERNANCE`; no principal
    can bypass `COMPLIANCE`."""
    force_destroy: Annotated[Flag, prod_requires(False)] = by_environment(True, False, False)
    """Pulumi empties buckets, image repositories and backup vaults before it deletes them. For temporary environments only."""
    cross_region_replication: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Replicate every object of the data bucket to second_region within 15 minutes (S3 Replication Time Control). Doubles the
    storage cost and adds 0.035 USD per GB."""


class BackupSettings(Section):
    """AWS Backup of the database, the secret links table and the data bucket, in addition to their own recovery features."""

    retention_days: Annotated[int, integer(7, 3650, "days"), prod_requires_at_least(35, "days")] = by_environment(7, 14, 35)
    """Days that a daily backup, and its copy in second_region, is retained."""
    cross_region_copy: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Copy each backup to a vault in second_region, so that backups survive the loss of the region."""
    vault_lock: Annotated[
        str, choice("none", "GOVERNANCE", "COMPLIANCE"), Production("GOVERNANCE or COMPLIANCE", lambda mode: mode != "none")
    ] = by_environment("none", "none", "GOVERNANCE")
    """AWS Backup Vault Lock. `none`: no lock. `GOVERNANCE`: only principals that may remove the lock can delete a backup early.
    `COMPLIANCE`: after three days, no principal can delete a backup early or remove the lock, including AWS and the root user."""
