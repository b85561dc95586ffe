"""The PostgreSQL database."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.role_policies import DATABASE, DATABASE_OWNER
from components.naming import Naming
from components.settings.data import DatabaseSettings, ProtectionSettings
from components.tags import tags

PORT = 5432
LOGS = ("postgresql", "upgrade")
INSIGHTS_DAYS = {"standard": 7, "advanced": 465}
"""How long each mode of Database Insights keeps its statistics (RDS user guide, "Monitoring with Database Insights")."""
EVENTS = {
    "db-instance": ("availability", "configuration change", "deletion", "failover", "failure", "low storage", "maintenance"),
    "db-parameter-group": ("configuration change",),
    "db-security-group": ("configuration change", "failure"),
}
"""What RDS tells of each kind of thing."""


@dataclass(frozen=True, kw_only=True)
class RdsInstanceArgs:
    """What the database is told.

    names: the stack's names.
    database: size, recovery and protection.
    protection: whether deletion is refused.
    subnet_ids: the data tier. security_group_id: who may connect.
    key_arn: the key of storage, snapshots and insights. secrets_key_arn: the key of the owner's password.
    log_key_arn, log_retention_days: its log groups.
    monitoring_role_arn: the role that writes operating system metrics. topic_arn: who is told of events.
    """

    names: Naming
    database: DatabaseSettings
    protection: ProtectionSettings
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    secrets_key_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int
    monitoring_role_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]


class RdsInstance(pulumi.ComponentResource):
    """RDS for PostgreSQL in the data tier, encrypted, TLS only, with point-in-time recovery.

    Why: the application signs in with IAM tokens; the owner's password is RDS' own secret, so no password is in the
    program. Cost: from 13 USD a month (db.t4g.micro) to about 260 USD (db.m7g.large in two zones), plus 0.12 USD a GB,
    and with advanced insights 18 USD for its two vCPU. Controls: GH-RDS-001 to GH-RDS-013, GH-RDS-015 to GH-RDS-017.
    """

    arn: pulumi.Output[str]
    identifier: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    address: pulumi.Output[str]
    owner_secret_arn: pulumi.Output[str]

    def __init__(self, name: str, args: RdsInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:database:RdsInstance", name, component_inputs(args), opts)
        names, size = args.names, args.database
        logs = [self._log(kind, args) for kind in LOGS]
        subnets = aws.rds.SubnetGroup(
            name,
            name=names.name("main"),
            description="Data tier",
            subnet_ids=list(args.subnet_ids),
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        parameters = aws.rds.ParameterGroup(
            name,
            name=names.name("main"),
            description="TLS only, connections and slow queries logged",
            family=f"postgres{size.engine_version.split('.')[0]}",
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name="rds.force_ssl", value="1"),
                aws.rds.ParameterGroupParameterArgs(name="log_connections", value="1"),
                aws.rds.ParameterGroupParameterArgs(name="log_disconnections", value="1"),
                aws.rds.ParameterGroupParameterArgs(name="log_min_duration_statement", value=str(size.slow_query_threshold_ms)),
            ],
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        instance = aws.rds.Instance(
            name,
            identifier=names.name("main"),
            engine="postgres",
            engine_version=size.engine_version,
            instance_class=size.instance_class,
            allocated_storage=size.storage_gib,
            max_allocated_storage=size.storage_max_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            db_name=DATABASE,
            username=DATABASE_OWNER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.secrets_key_arn,
            port=PORT,
            multi_az=size.multi_az,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[args.security_group_id],
            parameter_group_name=parameters.name,
            iam_database_authentication_enabled=True,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            backup_retention_period=size.backup_retention_days,
            backup_window="02:00-03:00",
            maintenance_window="sun:03:30-sun:04:30",
            delete_automated_backups=False,
            copy_tags_to_snapshot=True,
            skip_final_snapshot=not size.final_snapshot,
            final_snapshot_identifier=names.name("main-final"),
            deletion_protection=size.deletion_protection,
            auto_minor_version_upgrade=True,
            apply_immediately=False,
            enabled_cloudwatch_logs_exports=list(LOGS),
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS[size.insights],
            database_insights_mode=size.insights,
            monitoring_interval=size.monitoring_interval_s,
            monitoring_role_arn=args.monitoring_role_arn if size.monitoring_interval_s else None,
            tags=tags("confidential"),
            opts=pulumi.ResourceOptions(
                parent=self,
                # RDS would make the log groups itself, without key and for ever.
                depends_on=logs,
                protect=args.protection.protect,
                retain_on_delete=args.protection.retain_on_delete,
                custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m"),
            ),
        )
        for source, categories in EVENTS.items():
            aws.rds.EventSubscription(
                source,
                name=names.name(source),
                sns_topic=args.topic_arn,
                source_type=source,
                # A database in a VPC has no DB security group; this tells when somebody makes one in the account.
                source_ids={"db-instance": [instance.identifier], "db-parameter-group": [parameters.name]}.get(source),
                event_categories=list(categories),
                enabled=True,
                tags=tags("internal"),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.arn = instance.arn
        self.identifier, self.endpoint, self.address = instance.identifier, instance.endpoint, instance.address
        self.owner_secret_arn = instance.master_user_secrets.apply(owner_secret)
        self.register_outputs({"identifier": self.identifier, "endpoint": self.endpoint, "ownerSecretArn": self.owner_secret_arn})

    def _log(self, kind: str, args: RdsInstanceArgs) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            kind,
            name=args.names.database_log_group(kind),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )


def owner_secret(secrets: Sequence[aws.rds.outputs.InstanceMasterUserSecret] | None) -> str:
    """ARN of the secret that RDS made for the owner; "" before RDS has made one."""
    return str(secrets[0].secret_arn) if secrets else ""
