"""Composite component with the resources that all other components depend on."""

from collections.abc import Mapping

import pulumi

from components.account.cloud_trail import CloudTrail
from components.component import StackComponent
from components.compute.python_function import FunctionResources
from components.encryption.kms_keys import KmsKeys
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
from components.iam.role_policies import TRAIL_LOG, RoleDefinition
from components.iam.roles import PermissionsBoundary, Roles
from components.monitoring import smoke_test, synthetic_probe
from components.monitoring.topics import AlarmTopic
from components.stack import Stack
from components.storage.bucket import Bucket, BucketReplica, Buckets


class Foundation(StackComponent):
    """IAM roles, KMS keys, buckets, the CloudTrail trail and the topic of the alarms.

    pipeline_roles: ARNs of the roles of the pipeline.
    """

    role_arns: dict[str, pulumi.Output[str]]
    """ARN of each role, keyed by name."""
    topic_arn: pulumi.Output[str]
    """Topic of all alarms and notifications."""
    access_log_bucket: pulumi.Input[str]
    """Bucket for the access logs of load balancers."""
    trail_log_group: pulumi.Output[str] | None = None
    """Log group of the trail, if the stack has one."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        pipeline_roles: Mapping[str, pulumi.Output[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:foundation:Foundation", name, stack, opts)
        boundary = PermissionsBoundary("permissions-boundary", stack, self.child)
        definitions = role_definitions(stack)
        self.role_arns = Roles("roles", stack, definitions, boundary.arn, self.child).arns
        principals = {**self.role_arns, **pipeline_roles}
        self.keys = KmsKeys("kms-keys", stack, key_users(stack), principals, self.child)
        logs_key_arn = self.keys.logs_arn
        chat_role_arn = self.role_arns.get(role_policies.CHAT)
        self.topic_arn = AlarmTopic("alarms", stack, logs_key_arn, chat_role_arn, self.child).arn
        self._buckets()
        if not self.settings.existing_resources.trail:
            trail = CloudTrail(
                "trail",
                stack,
                self.child,
                logs_key_arn=logs_key_arn,
                bucket=self.trail_bucket.name,
                role_arn=self.role_arns[TRAIL_LOG],
            )
            self.trail_log_group = trail.log_group
        self.register_outputs({})

    def function_resources(self, name: str) -> FunctionResources:
        return FunctionResources(self.role_arns[name], self.keys.logs_arn, self.topic_arn)

    def _buckets(self) -> None:
        buckets = Buckets(self.settings, self.names)
        self.log_bucket = Bucket.log_bucket("logs", buckets.logs(), self.child)
        existing = self.settings.existing_resources.access_log_bucket
        self.access_log_bucket = existing or self.log_bucket.name
        self.trail_bucket = Bucket(
            "trail", buckets.trail(self.keys.logs_arn, self.log_bucket.name), self.child
        )
        replica: BucketReplica | None = None
        if self.settings.replication_region and self.keys.replica_arn:
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


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    modules = (role_policies, backup_roles, sharing_roles, synthetic_probe, smoke_test)
    return {
        name: definition
        for module in modules
        for name, definition in module.role_definitions(stack).items()
    }


def key_users(stack: Stack) -> dict[str, tuple[Statement, ...]]:
    """Return the key policy statements of every principal that uses the keys, keyed by KMS key."""
    names, settings, contract = stack.names, stack.settings, stack.contract
    roles = {
        service: [
            names.role_arn(role) for role in role_policies.roles_of_service(contract, service)
        ]
        for service in (sharing_policies.CREATE, sharing_policies.OPEN)
    }
    signers = [
        names.role_arn(role_policies.task_role(process))
        for process in object_policies.signing_processes(contract)
    ]
    has_trail = not settings.existing_resources.trail
    sources = (
        role_policies.key_statements(stack),
        backup_roles.key_statements(stack),
        sharing_roles.key_statements(stack),
        {"logs": resource_policies.log_key_statements(names, has_trail=has_trail)},
        object_policies.key_statements(
            names, signers=signers, consoles=roles[sharing_policies.CREATE]
        ),
        sharing_policies.key_statements(names, roles),
        {"data": (key_policies.distribution_key_statement(names),)}
        if settings.services.cloudfront
        else {},
    )
    keys = {key for source in sources for key in source}
    return {
        key: tuple(statement for source in sources for statement in source.get(key, ()))
        for key in sorted(keys)
    }
