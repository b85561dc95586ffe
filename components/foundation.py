"""Composite component with the resources that all other components depend on."""

import pulumi

from components.account.cloud_trail import CloudTrail, CloudTrailArgs
from components.component import Component, LogOptions
from components.contract import Stack
from components.encryption.kms_keys import KmsKeys, KmsKeysArgs
from components.iam import (
    backup_roles,
    key_policies,
    object_policies,
    resource_policies,
    role_policies,
    sharing_policies,
    sharing_roles,
)
from components.iam.documents import Statement
from components.iam.role_policies import RoleDefinition
from components.iam.roles import PermissionsBoundary, PermissionsBoundaryArgs, Roles, RolesArgs
from components.monitoring import smoke_test, synthetic_probe
from components.monitoring.topics import NotificationTopic, TopicArgs
from components.naming import WEB_UI_BUCKET
from components.storage.bucket import Bucket, BucketReplica, Buckets


class Foundation(Component):
    """IAM roles, KMS keys, buckets, the CloudTrail trail and the topic for notifications from AWS
    services.
    """

    role_arns: dict[str, pulumi.Output[str]]
    """ARN of each role, keyed by name."""
    logs: LogOptions
    """KMS key, retention and deletion protection of every log group."""
    topic_arn: pulumi.Output[str]
    """Topic for notifications from AWS services: RDS events, backup jobs, and budget alerts."""

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__("gatehouse:foundation:Foundation", name, None, opts)
        self._stack = stack
        settings, names = stack.settings, stack.names
        regions = (settings.region, *filter(None, (settings.replica_region,)))
        boundary = PermissionsBoundary(
            "permissions-boundary",
            PermissionsBoundaryArgs(names=names, regions=regions),
            self.child,
        )
        roles = RolesArgs(
            names=names, definitions=role_definitions(stack), boundary_arn=boundary.arn
        )
        self.role_arns = Roles("roles", roles, self.child).arns
        self.keys = self._kms_keys()
        self.logs = LogOptions(self.keys.logs_arn, settings.log_retention_days, settings.protection)
        topic = TopicArgs(names=names, monitoring=settings.monitoring, key_arn=self.keys.logs_arn)
        self.topic_arn = NotificationTopic("service-notifications", topic, self.child).arn
        self._buckets()
        self.trail = self._cloud_trail()
        self.register_outputs({})

    def _kms_keys(self) -> KmsKeys:
        settings, names, contract = self._stack.settings, self._stack.names, self._stack.contract
        groups = names.log_groups(
            (*contract.tasks, *sharing_roles.log_groups(contract)),
            smoke_test=settings.rollout.tests_traffic,
        )
        args = KmsKeysArgs(
            names=names,
            kms_keys=settings.kms_keys,
            existing=settings.existing_resources.key_arns,
            protection=settings.protection,
            secret_readers=role_policies.secret_readers(names, contract),
            table_roles=role_policies.table_users(contract),
            rotation_role=role_policies.ROTATION_FUNCTION,
            log_groups=groups,
            role_arns=self.role_arns,
            signing_roles=_signing_roles(self._stack),
            additional_statements=key_users(self._stack),
            replica_region=settings.replica_region,
            recovery_region=settings.recovery_region,
        )
        return KmsKeys("kms-keys", args, self.child)

    def _buckets(self) -> None:
        buckets = Buckets(self._stack.settings, self._stack.names)
        self.log_bucket = Bucket.log_bucket("logs", buckets.logs(), self.child)
        self.trail_bucket = Bucket(
            "trail", buckets.trail(self.keys.logs_arn, self.log_bucket.name), self.child
        )
        replica: BucketReplica | None = None
        if self._stack.settings.replication_region and self.keys.replica_arn:
            replica_logs = Bucket.log_bucket("replica-logs", buckets.replica_logs(), self.child)
            replica_args = buckets.replica_data(self.keys.replica_arn, replica_logs.name)
            replica_bucket = Bucket("replica-data", replica_args, self.child)
            replica = BucketReplica(
                replica_bucket.arn, self.keys.replica_arn, self.role_arns[backup_roles.REPLICATION]
            )
        self.data_bucket = Bucket(
            "data", buckets.data(self.keys.data_arn, self.log_bucket.name, replica), self.child
        )
        self.secrets_bucket = Bucket(
            "secrets", buckets.secrets(self.keys.data_arn, self.log_bucket.name), self.child
        )

    def _cloud_trail(self) -> CloudTrail:
        settings, names = self._stack.settings, self._stack.names
        copies = (
            (names.in_region(settings.replication_region),) if settings.replication_region else ()
        )
        args = CloudTrailArgs(
            names=names,
            bucket=self.trail_bucket.name,
            logs=self.logs,
            role_arn=self.role_arns["trail-log"],
            data_events={
                "AWS::S3::Object": [
                    *(f"{in_region.bucket_arn('data')}/" for in_region in (names, *copies)),
                    f"{names.bucket_arn(sharing_policies.BUCKET)}/",
                ],
                "AWS::DynamoDB::Table": [names.table_arn(sharing_policies.TABLE)],
                "AWS::Lambda::Function": [
                    names.arn("lambda", f"function:{names.name(role_policies.ROTATION_FUNCTION)}")
                ],
            },
        )
        return CloudTrail("trail", args, self.child)


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    """Return the definition of every role of the stack, keyed by name."""
    settings, names, contract = stack.settings, stack.names, stack.contract
    return (
        role_policies.role_definitions(stack)
        | backup_roles.role_definitions(
            names,
            replication_region=settings.replication_region,
            database_key_arn=settings.recovery.restore.database_key_arn,
        )
        | sharing_roles.role_definitions(
            names, contract, log_role=settings.sharing.api_gateway_log_role
        )
        | (
            synthetic_probe.role_definitions(names)
            if settings.monitoring.probe_interval_minutes
            else {}
        )
        | (smoke_test.role_definitions(names) if settings.rollout.tests_traffic else {})
    )


def key_users(stack: Stack) -> dict[str, tuple[Statement, ...]]:
    """Return the key policy statements for backups, functions, notifications, checkpoints, exports
    and secrets, keyed by KMS key."""
    names, settings, contract = stack.names, stack.settings, stack.contract
    consoles = [
        role_policies.task_role(process) for process in object_policies.console_processes(contract)
    ]
    sources = (
        backup_roles.key_statements(
            names,
            replication_region=settings.replication_region,
            replica_region=settings.replica_region,
        ),
        sharing_roles.key_statements(names, contract),
        {"logs": resource_policies.notification_key_statements(names)},
        object_policies.key_statements(names, signers=_signing_roles(stack), consoles=consoles),
        sharing_policies.key_statements(
            names,
            {
                service: [
                    names.role_arn(role)
                    for role in role_policies.roles_of_service(contract, service)
                ]
                for service in (sharing_policies.CREATE, sharing_policies.OPEN)
            },
        ),
        {"data": (key_policies.distribution_key_statement(names, WEB_UI_BUCKET),)}
        if settings.services.cloudfront
        else {},
    )
    keys = {key for source in sources for key in source}
    return {
        key: tuple(statement for source in sources for statement in source.get(key, ()))
        for key in sorted(keys)
    }


def _signing_roles(stack: Stack) -> tuple[str, ...]:
    """Return the roles that sign checkpoints of the audit trail."""
    return tuple(
        role_policies.task_role(process)
        for process in object_policies.signing_processes(stack.contract)
    )
