"""Under the deploy role of the delivery pipeline, the stack is deployed and its console moved
behind CloudFront.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.emulator.server import Emulator
from tests.sandbox.emulator.deploy_role import (
    CLOUDFRONT,
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
