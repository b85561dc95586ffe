"""The roles of the delivery pipeline. Under the deploy role, the stack is deployed and its console
moved behind CloudFront.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from tests.sandbox.emulator.deploy_role import (
    ACCOUNT,
    CLOUDFRONT,
    STACK,
    Pipeline,
    declared_role,
    permissions,
    pipeline,
)


@pytest.fixture(scope="module")
def stack() -> Iterator[Pipeline]:
    """The stack, deployed by the deploy role under enforcement, except the resources that an
    administrator deploys.
    """
    with pipeline() as started:
        started.deploy()
        yield started


@pytest.fixture(scope="module")
def deployed(stack: Pipeline) -> Emulator:
    return stack.emulator


@pytest.mark.requirement("CG-18")
def test_deploy_role_is_sufficient(deployed: Emulator) -> None:
    assert deployed.permissions.denied == []
    assert len(deployed.permissions.used_actions["pipeline-0"]) > 80


@pytest.mark.requirement("ECS-01")
def test_github_identity_provider(deployed: Emulator) -> None:
    iam = deployed.client("iam", "us-east-1")
    (listed,) = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    provider: dict[str, Any] = iam.get_open_id_connect_provider(
        OpenIDConnectProviderArn=listed["Arn"]
    )
    assert provider["Url"].removeprefix("https://") == "token.actions.githubusercontent.com"
    assert provider["ClientIDList"] == ["sts.amazonaws.com"]


@pytest.mark.requirement("ECS-01", "CG-18")
@pytest.mark.parametrize(
    ("purpose", "environments"),
    [
        ("deploy", [STACK]),
        ("preview", [f"{STACK}-preview", f"{STACK}-drift"]),
        ("image", [f"{STACK}-image"]),
    ],
)
def test_role_trusts_its_environments_and_has_a_boundary(
    deployed: Emulator, purpose: str, environments: list[str]
) -> None:
    iam = deployed.client("iam", "us-east-1")
    role = iam.get_role(RoleName=f"gatehouse-{STACK}-{purpose}")["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": [
                f"repo:acme/gatehouse:environment:{name}" for name in environments
            ],
        }
    }
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/gatehouse-{STACK}-deploy-boundary"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    attached = {
        row["PolicyName"]
        for row in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    }
    assert attached
    assert all(name.startswith(f"gatehouse-{STACK}-") for name in attached)
    assert (f"gatehouse-{STACK}-deploy-deny" in attached) == (purpose == "deploy")


@pytest.mark.requirement("CG-13", "CG-18", "TR-17")
def test_deploy_role_moves_the_console_behind_cloudfront(stack: Pipeline) -> None:
    steps = {(step.operation, step.type) for step in stack.deploy(CLOUDFRONT)}
    assert {
        ("create", "aws:cloudfront/vpcOrigin:VpcOrigin"),
        ("delete", "aws:lb/listenerRule:ListenerRule"),
    } <= steps
    assert stack.emulator.permissions.denied == []
    actions = stack.emulator.permissions.used_actions["pipeline-1"]
    assert {"cloudfront:CreateFunction", "logs:CreateDelivery", "s3:PutObject"} <= actions
    assert permissions(declared_role()) <= permissions(declared_role(CLOUDFRONT)), (
        "a first deployment needs both"
    )
    (distribution,) = stack.emulator.client("cloudfront", "us-east-1").list_distributions()[
        "DistributionList"
    ]["Items"]
    assert distribution["Aliases"]["Items"] == ["console.gatehouse.example.com"]
