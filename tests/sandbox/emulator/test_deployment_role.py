"""The roles of the delivery pipeline, and a deployment of the stack under the deploy role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from sandbox.checks.policy_documents import Role, collect
from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.paths import REPOSITORY

STACK = "prod"
ACCOUNT = "123456789012"
NAME = f"gatehouse-{STACK}-deploy"
# Resource types that an administrator deploys: permissions boundaries, audit and account-wide settings.
ADMINISTRATOR = {
    *(f"aws:iam/{kind}" for kind in ("policy:Policy", "rolePolicyAttachment:RolePolicyAttachment")),
    *(
        f"aws:iam/{kind}"
        for kind in ("openIdConnectProvider:OpenIdConnectProvider", "accountPasswordPolicy:AccountPasswordPolicy")
    ),
    "aws:cloudtrail/trail:Trail",
    *(f"aws:backup/{kind}" for kind in ("vaultLockConfiguration:VaultLockConfiguration", "vaultPolicy:VaultPolicy")),
    *(f"aws:backup/{kind}" for kind in ("vaultNotifications:VaultNotifications", "regionSettings:RegionSettings")),
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
    "aws:accessanalyzer/analyzer:Analyzer",
    *(f"aws:cfg/{kind}" for kind in ("recorder:Recorder", "recorderStatus:RecorderStatus", "deliveryChannel:DeliveryChannel")),
    *(f"aws:guardduty/{kind}" for kind in ("detector:Detector", "detectorFeature:DetectorFeature")),
    "aws:securityhub/account:Account",
    "aws:ebs/encryptionByDefault:EncryptionByDefault",
    *(
        f"aws:ec2/vpcBlockPublicAccess{kind}"
        for kind in ("Exclusion:VpcBlockPublicAccessExclusion", "Options:VpcBlockPublicAccessOptions")
    ),
}


@cache
def declared_role() -> Role:
    """The deploy role of the program."""
    return collect(run(REPOSITORY, STACK, FakeProvider(), preview=False)).roles[NAME]


@pytest.fixture(scope="module")
def deployed() -> Iterator[Emulator]:
    """The stack, deployed by the deploy role under enforcement, except for the resources of an administrator."""
    emulator = Emulator.start()
    try:
        iam = emulator.client("iam", "us-east-1")
        iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(declared_role().trust))
        # Calls to IAM have no resource in the emulator, so a deny for some roles would apply to all. Tests of the components
        # evaluate the denies.
        granting = [policy for policy in declared_role().policies if policy["Statement"][0]["Effect"] == "Allow"]
        for number, policy in enumerate(granting):
            arn = iam.create_policy(PolicyName=f"pipeline-{number}", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
            iam.attach_role_policy(RoleName="pipeline", PolicyArn=arn)
        emulator.act_as(f"arn:aws:iam::{ACCOUNT}:role/pipeline", unless=ADMINISTRATOR)
        run(REPOSITORY, STACK, emulator, preview=False)
        yield emulator
    finally:
        emulator.stop()


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
