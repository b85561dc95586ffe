"""Creates the IAM roles that `grants` describes."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs, with_dependencies
from components.iam.documents import render
from components.iam.role_policies import RoleDefinition
from components.naming import Naming
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class RolesArgs:
    """names: the stack's names. grants: every role by its name (Naming.name's `thing`). boundary_arn: the policy that bounds
    them all."""

    names: Naming
    definitions: Mapping[str, RoleDefinition]
    boundary_arn: pulumi.Input[str]


class Roles(pulumi.ComponentResource):
    """One role a purpose, each with one inline policy of exact ARNs.

    Why: an application that is taken over can do what its role can, and nothing else; starting a task and being one are
    two roles. No AWS-managed policy is attached, for those grant on every resource. Cost: none. Controls: GH-IAM-001 to
    GH-IAM-004, GH-IAM-007, GH-IAM-008, GH-KMS-007, GH-ECS-011.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARN of each role by its name, known once its permissions are in place."""

    def __init__(self, name: str, args: RolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:iam:Roles", name, component_inputs(args), opts)
        self.arns = {role: self._role(role, grant, args) for role, grant in args.definitions.items()}
        self.register_outputs({"roles": self.arns})

    def _role(self, name: str, grant: RoleDefinition, args: RolesArgs) -> pulumi.Output[str]:
        role = aws.iam.Role(
            name,
            name=args.names.name(name),
            description=grant.description,
            assume_role_policy=render(grant.trusted),
            permissions_boundary=args.boundary_arn,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if grant.allowed is None:
            return role.arn
        policy = aws.iam.RolePolicy(
            name,
            name="permissions",
            role=role.name,
            policy=render(grant.allowed),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return with_dependencies(role.arn, policy.id)
