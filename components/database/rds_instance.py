"""The RDS for PostgreSQL instance."""

import pulumi
import pulumi_aws as aws

from components.component import Placement, RegionKey, StackComponent, Topics
from components.context import Stack
from components.iam.role_policies import DATABASE, DATABASE_OWNER
from components.naming import tags
from components.settings.data import DATABASE_PORT

TIMEOUTS = pulumi.CustomTimeouts(create="120m", update="90m", delete="60m")
"""The creation can be the restore of a large database in the second region, within the recovery
time of three hours (docs/runbooks/recovery.md)."""
LOGS = ("postgresql", "upgrade")
SLOW_QUERY_MS = 500
"""Minimum duration of a statement that is logged as slow."""
CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"
INSIGHTS_DAYS = {"standard": 7, "advanced": 465}
"""Retention by Database Insights mode. Source: RDS User Guide, "Monitoring Amazon RDS databases
with CloudWatch Database Insights"."""
EVENTS = {
    "db-instance": [
        *("configuration change", "deletion", "failure"),
        *("low storage", "maintenance"),
    ],
    "db-parameter-group": ["configuration change"],
    "db-security-group": ["configuration change", "failure"],
}
"""Event categories, keyed by source type. An alarm reports that the database is not available,
also during a failover."""


class RdsInstance(StackComponent):
    """An encrypted RDS for PostgreSQL instance in the data tier, with point-in-time recovery. The
    instance requires TLS. Automated backups can be replicated to another region, and a database can
    be created from them there.

    Why: The application logs in with IAM tokens, and RDS manages the master user password in
    Secrets Manager, so the program contains no password.

    key_arn: KMS key for storage, snapshots and Performance Insights. A restored database keeps the
        key of its backups.
    backup_replica: Region to which the automated backups are replicated, and their KMS key; None
        without replication.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        placement: Placement,
        key_arn: pulumi.Input[str],
        secrets_key_arn: pulumi.Input[str],
        logs_key_arn: pulumi.Input[str],
        monitoring_role_arn: pulumi.Input[str],
        topics: Topics,
        backup_replica: RegionKey | None = None,
    ) -> None:
        super().__init__(name, stack, opts)
        settings, restore = self.settings.database, self.settings.recovery.restore
        parameters = self._parameter_group(name)
        source = restore.database_backups_arn
        key_arn = restore.database_key_arn or key_arn
        instance = aws.rds.Instance(
            name,
            identifier=self.names.name("main"),
            engine="postgres",
            engine_version=settings.engine_version,
            # The default enrols the database in Extended Support, which AWS charges for (RDS API,
            # "CreateDBInstance", EngineLifecycleSupport, read 2026-11-29).
            engine_lifecycle_support="open-source-rds-extended-support-disabled",
            instance_class=settings.instance_class,
            allocated_storage=settings.storage_gib,
            max_allocated_storage=settings.storage_max_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key_arn,
            # A restored database has the name and owner of its source.
            db_name=None if source else DATABASE,
            username=None if source else DATABASE_OWNER,
            restore_to_point_in_time={
                "source_db_instance_automated_backups_arn": source,
                "use_latest_restorable_time": True,
            }
            if source
            else None,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=secrets_key_arn,
            port=DATABASE_PORT,
            multi_az=settings.multi_az,
            publicly_accessible=False,
            db_subnet_group_name=self._subnet_group(name, placement).name,
            vpc_security_group_ids=[placement.security_group_id],
            parameter_group_name=parameters.name,
            iam_database_authentication_enabled=True,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            backup_retention_period=settings.backup_retention_days,
            backup_window="02:00-03:00",
            maintenance_window=self.settings.maintenance_window,
            delete_automated_backups=False,
            copy_tags_to_snapshot=True,
            skip_final_snapshot=not settings.final_snapshot,
            final_snapshot_identifier=pulumi.Output.from_input(placement.subnet_ids[0]).apply(
                lambda subnet_id: final_snapshot(stack.names.name("main"), subnet_id)
            ),
            deletion_protection=self.settings.protection.deletion_protection,
            auto_minor_version_upgrade=True,
            allow_major_version_upgrade=True,
            apply_immediately=settings.apply_immediately,
            enabled_cloudwatch_logs_exports=list(LOGS),
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS[settings.insights],
            database_insights_mode=settings.insights,
            monitoring_interval=settings.monitoring_interval_s,
            monitoring_role_arn=monitoring_role_arn if settings.monitoring_interval_s else None,
            tags=tags("confidential"),
            # RDS would otherwise create the log groups without a KMS key or a retention period.
            opts=self.protected(
                *(
                    self.create_log_group(kind, self.names.database_log_group(kind), logs_key_arn)
                    for kind in LOGS
                ),
                custom_timeouts=TIMEOUTS,
            ),
        )
        self._event_subscriptions(topics.notices["database"], instance.identifier, parameters.name)
        self.replicated_backups_arn: pulumi.Output[str] | None = None
        if backup_replica is not None:
            # Replicates snapshots and transaction logs.
            self.replicated_backups_arn = aws.rds.InstanceAutomatedBackupsReplication(
                name,
                region=backup_replica.region,
                source_db_instance_arn=instance.arn,
                kms_key_id=backup_replica.key_arn,
                retention_period=settings.backup_retention_days,
                opts=self.protected(),
            ).id
        self.arn, self.resource_id = instance.arn, instance.resource_id
        self.identifier, self.endpoint, self.address = (
            instance.identifier,
            instance.endpoint,
            instance.address,
        )
        # RDS creates the secret after the instance.
        self.owner_secret_arn = instance.master_user_secrets.apply(
            lambda secrets: str(secrets[0].secret_arn) if secrets else ""
        )
        self.register_outputs({})

    def _parameter_group(self, name: str) -> aws.rds.ParameterGroup:
        version = self.settings.database.engine_version
        family = f"postgres{version}"
        # From PostgreSQL 18, the parameter is a list of events, for which RDS rejects "1".
        connections = "all" if int(version) >= 18 else "1"
        connections_max = str(self.settings.database.connections_max)
        return aws.rds.ParameterGroup(
            name,
            # A new family requires a new group, which RDS must create before it upgrades the
            # instance.
            name=self.names.name(f"main-{family}"),
            description="Requires TLS and logs connections and slow queries",
            family=family,
            parameters=[
                {"name": name, "value": value, "apply_method": method}
                for name, value, method in (
                    ("rds.force_ssl", "1", "immediate"),
                    ("log_connections", connections, "immediate"),
                    ("log_disconnections", "1", "immediate"),
                    ("log_min_duration_statement", str(SLOW_QUERY_MS), "immediate"),
                    ("max_connections", connections_max, "pending-reboot"),
                )
            ],
            tags=tags("internal"),
            opts=self.child,
        )

    def _subnet_group(self, name: str, placement: Placement) -> aws.rds.SubnetGroup:
        return aws.rds.SubnetGroup(
            name,
            name=self.names.name("main"),
            description="Subnets of the data tier",
            subnet_ids=list(placement.subnet_ids),
            tags=tags("internal"),
            opts=self.child,
        )

    def _event_subscriptions(
        self,
        topic_arn: pulumi.Input[str],
        instance: pulumi.Output[str],
        parameters: pulumi.Output[str],
    ) -> None:
        # The stack has no DB security group. An event reports the creation of a DB security group
        # in the account.
        source_ids = {"db-instance": [instance], "db-parameter-group": [parameters]}
        for source, categories in EVENTS.items():
            aws.rds.EventSubscription(
                source,
                name=self.names.name(source),
                sns_topic=topic_arn,
                source_type=source,
                source_ids=source_ids.get(source),
                event_categories=categories,
                enabled=True,
                tags=tags("internal"),
                opts=self.child,
            )


def final_snapshot(instance: str, subnet_id: str) -> str:
    """Return the name of the final snapshot. The ID of a subnet is new each time the stack is
    created, so a snapshot from an earlier destruction does not prevent the next one."""
    return f"{instance}-final-{subnet_id.rpartition('-')[2][:17]}"
