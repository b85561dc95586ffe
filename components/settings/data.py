"""Settings of secrets, data stores, backups, and the recovery in another region."""

from typing import Annotated

from components.settings.fields import (
    ARN,
    KMS_KEY,
    STACK_NAME,
    STACK_NAME_WORDS,
    Flag,
    Production,
    Section,
    by_environment,
    choice,
    integer,
    optional,
    prod_requires,
    prod_requires_at_least,
    string,
    strings,
)

DATABASE_PORT, CACHE_PORT = 5432, 6379
DAYS = integer(1, 3650, "days")
ROLE_ARN = rf"{ARN}:iam::\d{{12}}:role/[\w+=,.@/*-]+"


class ProtectionSettings(Section):
    """Prevents a deployment from deleting resources with data: keys, secrets, the database, the
    cache, tables, buckets, backup vaults, image repositories, log groups, the CloudTrail trail
    and the hosted zone. The policies, versioning and locks of buckets and vaults are protected
    as well."""

    protect: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Sets the Pulumi options `protect` and `retainOnDelete`: an operation that would delete or
    replace a resource fails. To remove a single resource, such as the log group of a deleted Core,
    run `pulumi state unprotect <URN>` first. The resource then stays in AWS."""
    deletion_protection: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """Enables deletion protection of AWS for the database, the secret links table and the load
    balancers."""


class SecretsSettings(Section):
    """The secrets that the rotation function creates: pepper, session key, bootstrap token and
    canary key.
    """

    rotation_schedule: Annotated[
        str,
        string(
            r"cron\(0 (1?\d|2[01])( \S+){3} \*\)",
            "a Secrets Manager cron expression that starts on one hour from 0 to 21 (UTC)",
        ),
    ] = "cron(0 9 ? * TUE#1 *)"
    """When the rotation window of three hours opens, in UTC. A rotation ends with a deployment of
    the services. The latest 100 generations of the pepper, 3 of the session key and 2 tokens of the
    canary key remain valid."""
    recovery_window_days: Annotated[
        int,
        choice(0, *range(7, 31), words="0, or an integer from 7 to 30 (days)"),
        prod_requires(30, "days"),
    ] = by_environment(0, 7, 30)
    """Days during which a deleted secret can be restored, and a stack with the same name cannot be
    created. 0 deletes secrets immediately.
    """
    operators: Annotated[
        tuple[str, ...], strings(ROLE_ARN, 1, 10, "IAM role ARNs; the role name can contain *")
    ]
    """IAM roles that may read the bootstrap token, the first credential."""


CONNECTIONS_PER_GIB = 80


class DatabaseSettings(Section):
    """The Amazon RDS for PostgreSQL instance."""

    engine_version: Annotated[
        str, string("1[6-9]", 'a PostgreSQL major version from 16, in quotes, such as "17"')
    ] = "17"
    """Major version of PostgreSQL. RDS chooses the minor version and upgrades it in the maintenance
    window. If you raise it, RDS takes a snapshot, and the database is unavailable during the
    upgrade."""
    apply_immediately: Flag = False
    """Applies changes of the instance with the deployment instead of in the maintenance window.
    Some changes restart the database, such as a new instance_class."""
    instance_class: Annotated[
        str,
        string(
            r"db\.[a-z0-9]+\.(?!nano|micro)[a-z0-9]+",
            'an RDS instance class with 2 GiB or more, such as "db.t4g.small"',
        ),
    ]
    """RDS instance class. IAM logins do not fit into 1 GiB. A Multi-AZ standby has the same
    class."""
    storage_gib: Annotated[int, integer(20, 65536, "GiB")]
    """Initial size of the gp3 storage in GiB. RDS cannot reduce the storage."""
    storage_max_gib: Annotated[int, integer(20, 65536, "GiB")]
    """Maximum size for storage autoscaling in GiB. An alarm is raised when less than 5 percent of
    storage_gib is free."""
    multi_az: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """Runs a standby in another Availability Zone, with automatic failover (Multi-AZ)."""
    backup_retention_days: Annotated[int, integer(1, 35, "days"), prod_requires(35, "days")] = (
        by_environment(7, 14, 35)
    )
    """Days to retain automated backups. Point-in-time recovery covers this period."""
    final_snapshot: Annotated[Flag, prod_requires(True)] = by_environment(False, True, True)
    """Takes a final snapshot when the instance is deleted."""
    monitoring_interval_s: Annotated[
        int,
        choice(0, 1, 5, 10, 15, 30, 60),
        Production("1, 5, 10, 15, 30 or 60", lambda interval: interval > 0),
    ] = by_environment(0, 60, 30)
    """Enhanced Monitoring interval in seconds. 0 disables Enhanced Monitoring."""
    insights: Annotated[str, choice("standard", "advanced"), prod_requires("advanced")] = (
        by_environment("standard", "standard", "advanced")
    )
    """CloudWatch Database Insights mode. `standard` retains query statistics for 7 days at no
    charge, `advanced` for 15 months, with execution plans and locks.
    """

    @property
    def memory_gib(self) -> int:
        """Memory of the instance class: t4g and m classes have 4 GiB for each vCPU of a size, r and
        x2g classes more.

        Source: RDS User Guide, "Hardware specifications for DB instance classes". A class with more
            memory raises alarms earlier.
        """
        _, family, size = self.instance_class.split(".")
        multiple = size.removesuffix("xlarge")
        sizes = {"micro": 1, "small": 2, "medium": 4, "large": 8}
        memory = sizes[size] if size in sizes else 16 * int(multiple or 1)
        return memory * 2 if family.startswith("r") else memory

    @property
    def connections_max(self) -> int:
        """The parameter max_connections. The default of RDS leaves less memory for IAM database
        authentication, which needs 300 to 1,000 MiB (RDS User Guide, "IAM database authentication
        for MariaDB, MySQL, and PostgreSQL", read 2026-11-29).
        """
        return min(CONNECTIONS_PER_GIB * self.memory_gib, 5_000)

    @property
    def is_burstable(self) -> bool:
        return self.instance_class.startswith("db.t")


class CacheSettings(Section):
    """The Amazon ElastiCache for Valkey replication group."""

    engine_version: Annotated[
        str, string(r"(7\.2|([89]|[1-9]\d)\.\d)", 'Valkey version "7.2", "8.0" or later, in quotes')
    ] = "8.0"
    """Valkey version of a new cache. AWS upgrades the minor version of an existing cache."""
    allow_upgrade: Flag = False
    """Upgrades an existing cache to `engine_version`. Set it to `false` afterwards: when AWS has
    upgraded the minor version, the lower version of the settings would replace the cache."""
    node_type: Annotated[
        str,
        string(
            r"cache\.[a-z0-9]+\.[a-z0-9]+", 'an ElastiCache node type such as "cache.t4g.micro"'
        ),
    ]
    """ElastiCache node type. Rate limits need little CPU and memory. A deployment changes the nodes
    at once."""
    replicas: Annotated[int, integer(0, 5, "replicas"), prod_requires_at_least(1, "replicas")] = (
        by_environment(0, 1, 1)
    )
    """Number of read replicas. With one or more, the group is Multi-AZ with automatic failover."""
    snapshot_retention_days: Annotated[
        int, integer(0, 35, "days"), prod_requires_at_least(7, "days")
    ] = by_environment(1, 7, 14)
    """Days to retain daily snapshots. 0 disables snapshots."""


class BucketsSettings(Section):
    """The data, log and trail buckets."""

    noncurrent_version_days: Annotated[int, DAYS] = by_environment(7, 30, 90)
    """Days during which an overwritten or deleted object can be restored."""
    log_retention_days: Annotated[int, DAYS] = by_environment(30, 90, 400)
    """Days to retain access logs."""
    trail_retention_days: Annotated[int, DAYS] = by_environment(90, 365, 731)
    """Days to retain AWS CloudTrail log files."""
    object_lock_days: Annotated[int, DAYS, prod_requires_at_least(365, "days")] = by_environment(
        1, 30, 365
    )
    """Days during which S3 Object Lock prevents the deletion of CloudTrail log files."""
    object_lock_mode: Annotated[str, choice("GOVERNANCE", "COMPLIANCE")] = by_environment(
        "GOVERNANCE", "GOVERNANCE", "COMPLIANCE"
    )
    """S3 Object Lock retention mode. Principals with the permission `s3:BypassGovernanceRetention`
    can bypass `GOVERNANCE`. No principal can bypass `COMPLIANCE`."""
    force_destroy: Annotated[Flag, prod_requires(False)] = by_environment(True, False, False)
    """Empties buckets, image repositories and backup vaults before Pulumi deletes them. Use only in
    temporary environments.
    """
    cross_region_replication: Annotated[Flag, prod_requires(True)] = by_environment(
        False, False, True
    )
    """Replicates every object in the data bucket to second_region within 15 minutes (S3 Replication
    Time Control). Adds the storage of a second copy (S3 Standard-IA), and 0.035 USD per replicated
    GB."""


class BackupSettings(Section):
    """AWS Backup for the database, the secret links table and the data bucket."""

    retention_days: Annotated[int, integer(7, 3650, "days"), prod_requires_at_least(35, "days")] = (
        by_environment(7, 14, 35)
    )
    """Days to retain each daily backup and its copy in second_region."""
    cross_region_copy: Annotated[Flag, prod_requires(True)] = by_environment(False, False, True)
    """Copies each backup to a vault in second_region."""
    vault_lock: Annotated[
        str,
        choice("none", "GOVERNANCE", "COMPLIANCE"),
        Production("GOVERNANCE or COMPLIANCE", lambda mode: mode != "none"),
    ] = by_environment("none", "none", "GOVERNANCE")
    """AWS Backup Vault Lock mode. With `GOVERNANCE`, only principals that may remove the lock can
    delete a backup early. With `COMPLIANCE`, after three days no principal can, including AWS
    and the root user.
    """


class RestoreSettings(Section):
    """Creates the stack from the data that another stack keeps in `region`. The stack output
    `recovery` of the other stack contains these settings. Set all of them before the first
    deployment and keep them, because RDS can change neither the source nor the KMS key of a
    database."""

    stack: Annotated[str | None, optional(STACK_NAME, STACK_NAME_WORDS)] = None
    """Name of the other stack. The rotation function copies the pepper from the replica of that
    stack's secret, and the DNS records of this stack replace those of the other stack. If empty,
    the stack is created without data."""
    database_backups_arn: Annotated[
        str | None,
        optional(
            rf"{ARN}:rds:[a-z0-9-]+:\d{{12}}:auto-backup:ab-[a-z0-9]+",
            "the ARN of replicated automated backups of RDS",
        ),
    ] = None
    """Automated backups from which the database is restored, to the latest restorable time."""
    database_key_arn: Annotated[str | None, KMS_KEY] = None
    """KMS key of these backups, which is also the key of the restored database."""
    secrets_key_arn: Annotated[str | None, KMS_KEY] = None
    """KMS key of the replica of the pepper."""


class RecoverySettings(Section):
    """Recovery from the loss of a region (docs/runbooks/recovery.md, "Recover in the second
    region").
    """

    stack: Annotated[str | None, optional(STACK_NAME, STACK_NAME_WORDS)] = None
    """Name of the stack that replaces this stack in `second_region` if `region` is lost. This stack
    keeps there a replica of the pepper, which only the rotation function of the named stack can
    read, and the automated backups of the database. Without, every API key must be issued again."""
    restore: RestoreSettings
