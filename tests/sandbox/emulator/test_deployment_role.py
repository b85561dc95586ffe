"""The roles of the delivery pipeline, and a deployment of the stack under the deploy role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from tests.sandbox.emulator.deploy_role import ACCOUNT, STACK, deployment


@pytest.fixture(scope="module")
def deployed() -> Iterator[Emulator]:
    """The stack, deployed by the deploy role under enforcement, except the resources that an administrator deploys."""
    with deployment() as emulator:
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
    ("purpose", "environments"),
    [("deploy", [STACK]), ("preview", [f"{STACK}-preview", f"{STACK}-drift"]), ("image", [f"{STACK}-image"])],
)
def test_role_trusts_its_environments_and_has_a_boundary(deployed: Emulator, purpose: str, environments: list[str]) -> None:
    iam = deployed.client("iam", "us-east-1")
    role = iam.get_role(RoleName=f"gatehouse-{STACK}-{purpose}")["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": [f"repo:acme/gatehouse:environment:{name}" for name in environments],
        }
    }
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/gatehouse-{STACK}-deploy-boundary"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    attached = {row["PolicyName"] for row in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]}
    assert attached
    assert all(name.startswith(f"gatehouse-{STACK}-") for name in attached)
    assert (f"gatehouse-{STACK}-deploy-deny" in attached) == (purpose == "deploy")
