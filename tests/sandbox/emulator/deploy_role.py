"""Deployments of the stack under the deploy role of the delivery pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from gatehouse_policies.program.types import Registration, Resource

from sandbox.emulator.server import Emulator
from sandbox.engine.checkpoint import Checkpoint
from sandbox.engine.steps import Step
from sandbox.engine.update import update
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import ACCOUNT_RESOURCES, raw_settings
from tools.docs.deployments import deployed
from tools.docs.iam_documents import Role, collect

STACK = "prod"
NAME = f"gatehouse-{STACK}-deploy"
SETTINGS, CLOUDFRONT = (
    json.dumps(raw_settings(STACK, {**ACCOUNT_RESOURCES, **changes}))
    for changes in ({}, {"services.console.hosting": "cloudfront"})
)
# Resource types that an administrator deploys: permissions boundaries, audit and exclusions from
# account-wide settings.
ADMINISTRATOR = re.compile(
    r"aws:(iam/(policy|rolePolicyAttachment|openIdConnectProvider)|cloudtrail/trail|s3/bucketObjectLockConfiguration"
    r"|backup/(vaultLockConfiguration|vaultPolicy|vaultNotifications)|ec2/vpcBlockPublicAccessExclusion):"
)


class DeployRole:
    """A provider that changes resources with the credentials of a role, except the resources that
    an administrator deploys.
    """

    def __init__(self, emulator: Emulator, role: str) -> None:
        self._emulator, self._operator = emulator, emulator.client
        keys = emulator.client("sts", "us-east-1").assume_role(
            RoleArn=role, RoleSessionName="test"
        )["Credentials"]
        self._role = emulator.clients(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
        )

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        with self._credentials(registration):
            return self._emulator.create(registration)

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        with self._credentials(registration):
            return self._emulator.update(old, registration, changed)

    def delete(self, resource: Resource) -> None:
        with self._credentials(resource.registration):
            self._emulator.delete(resource)

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._emulator.invoke(token, args, provider)

    @contextmanager
    def _credentials(self, registration: Registration) -> Iterator[None]:
        self._emulator.client = (
            self._operator if ADMINISTRATOR.match(registration.type) else self._role
        )
        try:
            yield
        finally:
            self._emulator.client = self._operator


@cache
def declared_role(settings: str) -> Role:
    """The deploy role of the program with these settings as JSON."""
    return collect(deployed(STACK, settings)).roles[NAME]


def permissions(role: Role) -> set[tuple[str, str]]:
    """The actions and resources that the role allows."""
    statements = [
        statement
        for policy in role.policies
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
    ]
    return {
        (action, on)
        for row in statements
        for action in _list(row["Action"])
        for on in _list(row["Resource"])
    }


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Pipeline:
    """An emulator with enforced IAM, and deployments by the deploy role."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._checkpoint = Checkpoint()

    def deploy(self, settings: str) -> list[Step]:
        """Deploy or update the stack with these settings as JSON."""
        steps: list[Step] = []
        role = self._role(declared_role(settings))
        self.emulator.permissions.enforce(True)
        update(
            *(REPOSITORY, STACK, DeployRole(self.emulator, role), self._checkpoint),
            report=steps.append,
            config={"gatehouse:settings": settings},
        )
        return steps

    def _role(self, declared: Role) -> str:
        """Create a role with the policies of the deploy role. Returns its ARN."""
        iam = self.emulator.client("iam", "us-east-1")
        name = f"pipeline-{len(iam.list_roles(PathPrefix='/pipeline/')['Roles'])}"
        role = iam.create_role(
            RoleName=name, Path="/pipeline/", AssumeRolePolicyDocument=json.dumps(declared.trust)
        )["Role"]
        # Calls to IAM have no resource in the emulator, so a deny for some roles would apply to
        # all. Tests of the components evaluate the denies.
        granting = [
            policy for policy in declared.policies if policy["Statement"][0]["Effect"] == "Allow"
        ]
        for number, policy in enumerate(granting):
            document = json.dumps(policy)
            arn = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=document)[
                "Policy"
            ]["Arn"]
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        return str(role["Arn"])
