"""A deployment of the stack under the deploy role of the delivery pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.types import Registration
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import DELIVERY, raw_settings
from tools.docs.deployments import deployed
from tools.docs.iam_documents import Role, collect

STACK = "prod"
ACCOUNT = "123456789012"
NAME = f"gatehouse-{STACK}-deploy"
# Resource types that an administrator deploys: permissions boundaries, audit and exclusions from account-wide settings.
ADMINISTRATOR = re.compile(
    r"aws:(iam/(policy|rolePolicyAttachment|openIdConnectProvider)|cloudtrail/trail|s3/bucketObjectLockConfiguration"
    r"|backup/(vaultLockConfiguration|vaultPolicy|vaultNotifications)|ec2/vpcBlockPublicAccessExclusion):"
)


class DeployRole:
    """A provider that creates resources with the credentials of a role, except the resources that an administrator deploys."""

    def __init__(self, emulator: Emulator, role: str) -> None:
        self._emulator, self._operator = emulator, emulator.client
        keys = emulator.client("sts", "us-east-1").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        self._role = emulator.clients(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        self._emulator.client = self._operator if ADMINISTRATOR.match(registration.type) else self._role
        try:
            return self._emulator.create(registration)
        finally:
            self._emulator.client = self._operator

    def invoke(self, token: str, args: dict[str, Any], provider: Mapping[str, Any]) -> dict[str, Any]:
        return self._emulator.invoke(token, args, provider)


@cache
def declared_role(settings: str = "") -> Role:
    """The deploy role of the program. settings: settings as JSON instead of those in the stack file."""
    return collect(deployed(STACK, with_pipeline(settings))).roles[NAME]


def with_pipeline(settings: str) -> str:
    """The settings, or those in the stack file, with the roles of the pipeline."""
    return json.dumps({**(json.loads(settings) if settings else raw_settings(STACK)), "delivery": DELIVERY})


@contextmanager
def deployment(settings: str = "") -> Iterator[Emulator]:
    """A deployment by the deploy role under enforcement. settings: settings as JSON instead of those in the stack file."""
    with Emulator.start() as emulator:
        iam = emulator.client("iam", "us-east-1")
        role = declared_role(settings)
        iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(role.trust))
        # Calls to IAM have no resource in the emulator, so a deny for some roles would apply to all. Tests of the components
        # evaluate the denies.
        granting = [policy for policy in role.policies if policy["Statement"][0]["Effect"] == "Allow"]
        for number, policy in enumerate(granting):
            arn = iam.create_policy(PolicyName=f"pipeline-{number}", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
            iam.attach_role_policy(RoleName="pipeline", PolicyArn=arn)
        provider = DeployRole(emulator, f"arn:aws:iam::{ACCOUNT}:role/pipeline")
        emulator.permissions.enforce(True)
        run(REPOSITORY, STACK, provider, preview=False, config={"gatehouse:settings": with_pipeline(settings)})
        yield emulator
