"""The IAM roles of a stack."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs, with_dependencies
from components.iam.documents import render
from components.iam.role_policies import RoleDefinition
from components.naming import tags


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesArgs(StackArgs):
    """Arguments of `Roles`.

    definitions: Roles by resource name.
    boundary_arn: Permissions boundary of every role.
    """

    definitions: Mapping[str, RoleDefinition]
    boundary_arn: pulumi.Input[str]


class Roles(Component):
    """One role for each purpose, with a single inline policy that lists exact ARNs.

    Why: A compromised application is limited to the permissions of its own role. The task role and the execution role of
    a task are separate. No AWS managed policy is attached, because these grant access to all resources.
    Cost: none. Controls: GH-IAM-001 to GH-IAM-004, GH-IAM-007, GH-IAM-008, GH-KMS-007, GH-ECS-011.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARNs by resource name. Each resolves after the role's policy exists."""

    def __init__(self, name: str, args: RolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:iam:Roles", name, args, opts)
        self.arns = {role: self._role(role, definition, args) for role, definition in args.definitions.items()}
        self.register_outputs({"arns": self.arns})

    def _role(self, name: str, definition: RoleDefinition, args: RolesArgs) -> pulumi.Output[str]:
        role = aws.iam.Role(
            name,
            name=args.names.name(name),
            description=definition.description,
            assume_role_policy=render(definition.trust_policy),
            permissions_boundary=args.boundary_arn,
            tags=tags("internal"),
            opts=self.child,
        )
        if definition.permissions is None:
            return role.arn
        policy = aws.iam.RolePolicy(
            name, name="permissions", role=role.name, policy=render(definition.permissions), opts=self.child
        )
        return with_dependencies(role.arn, policy.id)
