"""Budgets, notification topic and audit key."""

import pytest

from tests.components.program import run
from tests.components.settings.stack_settings import STACKS


@pytest.mark.requirement("TR-11")
@pytest.mark.parametrize("stack", STACKS)
def test_only_console_signs_checkpoints_with_ecdsa(stack: str) -> None:
    (sign,) = (
        s
        for s in run(stack).statements("kms/key:Key", "audit").values()
        if {"kms:Sign", "kms:*"} & set(s["Action"])
    )
    assert sign["Principal"] == {
        "AWS": [f"arn:aws:iam::123456789012:role/gatehouse-{stack}-console-task"]
    }
    assert sign["Condition"]["StringEquals"]["kms:SigningAlgorithm"] == "ECDSA_SHA_256"
    key = run(stack).get("kms/key:Key", "audit").inputs
    assert (key["keyUsage"], key["customerMasterKeySpec"], "enableKeyRotation" in key) == (
        "SIGN_VERIFY",
        "ECC_NIST_P256",
        False,
    )


def test_keys_are_multi_region_only_with_replication() -> None:
    regions = {
        s: run(s).get("kms/key:Key", "backup").inputs.get("multiRegion", False) for s in STACKS
    }
    replicas = {s: len(run(s).of_type("kms/replicaKey:ReplicaKey")) for s in STACKS}
    assert regions == {"dev": False, "staging": False, "prod": True}
    assert replicas == {"dev": 0, "staging": 0, "prod": 1}


@pytest.mark.requirement("SS-11")
@pytest.mark.parametrize(("stack", "limit"), [("dev", "250"), ("staging", "600"), ("prod", "2000")])
def test_stack_has_a_budget(stack: str, limit: str) -> None:
    program = run(stack)
    (budget,) = program.of_type("budgets/budget:Budget")
    assert (
        budget.inputs["limitAmount"],
        budget.inputs["limitUnit"],
        budget.inputs["timeUnit"],
    ) == (limit, "USD", "MONTHLY")
    assert {n["notificationType"] for n in budget.inputs["notifications"]} == {
        "ACTUAL",
        "FORECASTED",
    }
    assert all(
        n["subscriberSnsTopicArns"] == ["arn:aws:mock:::service-notifications"]
        for n in budget.inputs["notifications"]
    )


@pytest.mark.parametrize("stack", STACKS)
def test_edge_subnets_are_excluded_from_public_access_block(stack: str) -> None:
    excluded = run(stack).of_type("ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion")
    subnets = {
        a.name
        for a in run(stack).of_type("ec2/subnet:Subnet")
        if a.inputs["tags"]["Tier"] == "edge"
    }
    assert {a.name for a in excluded} == subnets
    assert {a.inputs["internetGatewayExclusionMode"] for a in excluded} == {"allow-bidirectional"}
