"""`Base`: what all resources of a stack use, with its roles, KMS keys and topics."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.component import Topics
from components.compute.python_function import FunctionResources
from components.context import Stack
from components.delivery.roles import DeliveryRoles
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
from components.iam.role_policies import RoleDefinition
from components.iam.roles import PermissionsBoundary, Roles
from components.monitoring import smoke_test, synthetic_probe
from components.monitoring.topics import AlarmTopics


@dataclass(frozen=True)
class Base:
    """opts: options of all components. roles, delivery_roles: ARNs of the roles of the stack and of
    its pipeline.
    """

    stack: Stack
    opts: pulumi.ResourceOptions
    roles: Mapping[str, pulumi.Output[str]]
    delivery_roles: Mapping[str, pulumi.Output[str]]
    keys: KmsKeys
    topics: Topics

    def of_function(self, name: str) -> FunctionResources:
        return FunctionResources(self.roles[name], self.keys.logs_arn, self.topics)


def create_base(stack: Stack, opts: pulumi.ResourceOptions) -> Base:
    delivery_roles = DeliveryRoles("delivery", stack, opts).roles
    boundary: pulumi.Input[str] = stack.names.boundary_arn
    if not stack.names.permissions_boundary:
        boundary = PermissionsBoundary("permissions-boundary", stack, opts).arn
    roles = Roles("roles", stack, role_definitions(stack), boundary, opts).arns
    keys = KmsKeys("kms-keys", stack, key_users(stack), {**roles, **delivery_roles}, opts)
    chat_role_arn = roles.get(role_policies.CHAT)
    topics = AlarmTopics("alarms", stack, keys.alarms_arn, chat_role_arn, opts).topics
    return Base(stack, opts, roles, delivery_roles, keys, topics)


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
        {
            "logs": resource_policies.log_key_statements(names, has_trail=has_trail),
            "alarms": [resource_policies.topic_key_statement(names, names.topics)],
        },
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
