"""The roles of the delivery pipeline, and a deployment of the stack under the deploy role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.engine.types import Registration
from sandbox.paths import REPOSITORY
from tools.docs.iam_documents import Role, collect

STACK = "prod"
ACCOUNT = "123456789012"
NAME = f"gatehouse-{STACK}-deploy"
# Resource types that an administrator deploys: permissions boundaries, audit and account-wide settings.
ADMINISTRATOR = re.compile(
    r"aws:(iam/(policy|rolePolicyAttachment|openIdConnectProvider|accountPasswordPolicy)|cloudtrail/trail|cfg/\w+|guardduty/\w+"
    r"|backup/(vaultLockConfiguration|vaultPolicy|vaultNotifications|regionSettings)|accessanalyzer/analyzer"
    r"|s3/(bucketObjectLockConfiguration|accountPublicAccessBlock)|securityhub/account|ebs/encryptionByDefault"
    r"|ec2/vpcBlockPublicAccess\w+):"
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

    def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
        return self._emulator.invoke(token, args)


@cache
def declared_role() -> Role:
    """The deploy role of the program."""
    return collect(run(REPOSITORY, STACK, FakeProvider(), preview=False)).roles[NAME]


@pytest.fixture(scope="module")
def deployed() -> Iterator[Emulator]:
    """The stack, deployed by the deploy role under enforcement, except the resources that an administrator deploys."""
    with Emulator.start() as emulator:
        iam = emulator.client("iam", "us-east-1")
        iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(declared_role().trust))
        # Calls to IAM have no resource in the emulator, so a deny for some roles would apply to all. Tests of the components
        # evaluate the denies.
        granting = [policy for policy in declared_role().policies if policy["Statement"][0]["Effect"] == "Allow"]
        for number, policy in enumerate(granting):
            arn = iam.create_policy(PolicyName=f"pipeline-{number}", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
            iam.attach_role_policy(RoleName="pipeline", PolicyArn=arn)
        provider = DeployRole(emulator, f"arn:aws:iam::{ACCOUNT}:role/pipeline")
        emulator.permissions.enforce(True)
        run(REPOSITORY, STACK, provider, preview=False)
        yield emulator


@pytest.mark.requirement("CG-18")
def test_deploy_role_is_sufficient(deployed: Emulator) -> None:
    assert deployed.permissions.denied == []
    assert len(deployed.permissions.used_actions["pipeline"]) > 80


@pytest.mark.requirement("ECS-01")
def test_github_identity_provider(deployed: Emulator) -> None:
    iam = deployed.client("iam", "us-east-1")
    (listed,) = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    provider: dict[str, Any] = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=listed["Arn"])
    assert provider["Url"].removeprefix("https://") == "token.actions.githubusercontent.com"
    assert provider["ClientIDList"] == ["sts.amazonaws.com"]


@pytest.mark.requirement("ECS-01", "CG-18")
@pytest.mark.parametrize(
    ("purpose", "environment"), [("deploy", STACK), ("preview", f"{STACK}-preview"), ("image", f"{STACK}-image")]
)
def test_role_trusts_its_environment_and_has_a_boundary(deployed: Emulator, purpose: str, environment: str) -> None:
    iam = deployed.client("iam", "us-east-1")
    role = iam.get_role(RoleName=f"gatehouse-{STACK}-{purpose}")["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": f"repo:example/gatehouse:environment:{environment}",
        }
    }
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/gatehouse-{STACK}-deploy-boundary"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    attached = {row["PolicyName"] for row in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]}
    assert attached
    assert all(name.startswith(f"gatehouse-{STACK}-") for name in attached)
    assert (f"gatehouse-{STACK}-deploy-deny" in attached) == (purpose == "deploy")
