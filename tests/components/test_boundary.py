"""Permissions boundary of the stack's roles."""

import json
from typing import Any

import pytest

from components.iam.permissions_boundary import DENIED, USED, boundary_policy
from components.naming import Naming
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS
from tests.iam_evaluation import Call, Effect, decide

NAMES = Naming("dev", "123456789012", "eu-west-1")
HOME = {"aws:RequestedRegion": NAMES.region}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
CHARACTERS_MAX = 6144  # of a managed policy without white space (IAM user guide, "IAM and AWS STS quotas")


def effect(action: str, context: dict[str, Any] = HOME, identity: dict[str, Any] = EVERYTHING) -> Effect:
    """The effect of a call by a role with this identity policy and the boundary."""
    call = Call(NAMES.role_arn("gateway-task"), action, "*", context)
    return decide(call, identity=[identity], limits=[boundary_policy([NAMES.region])])


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_every_role_has_the_permissions_boundary(stack: str) -> None:
    program, names = run(stack), Naming(stack, "123456789012", "eu-west-1")
    assert program.get("iam/policy:Policy", "permissions-boundary").inputs["name"] == names.boundary
    # The pipeline's roles have another boundary, see tests/components/test_delivery.py.
    roles = [role for role in program.of_type("iam/role:Role") if "Federated" not in role.inputs["assumeRolePolicy"]]
    boundaries = {role.name: role.inputs.get("permissionsBoundary") for role in roles}
    assert len(boundaries) >= 10
    assert len(set(boundaries.values())) == 1, boundaries
    assert None not in boundaries.values()


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_boundary_allows_every_granted_action(stack: str) -> None:
    program = run(stack)
    policy = program.get("iam/policy:Policy", "permissions-boundary")
    granted = {
        action
        for role in program.of_type("iam/rolePolicy:RolePolicy")
        for statement in json.loads(role.inputs["policy"])["Statement"]
        for action in statement["Action"]
    }
    limits = [json.loads(policy.inputs["policy"])]
    assert len(granted) > 40
    not_allowed = {
        action
        for action in granted
        if not decide(Call(NAMES.role_arn("x"), action, "*", HOME), identity=[EVERYTHING], limits=limits).allowed
    }
    assert not_allowed == set()


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    "action",
    [
        *("iam:CreateUser", "iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRolePermissionsBoundary", "sts:AssumeRole"),
        *("cloudtrail:StopLogging", "guardduty:DeleteDetector", "backup:DeleteRecoveryPoint", "kms:PutKeyPolicy"),
        *("kms:ScheduleKeyDeletion", "s3:PutBucketPolicy", "s3:BypassGovernanceRetention", "secretsmanager:DeleteSecret"),
        *("logs:Unmask", "logs:DeleteDataProtectionPolicy"),
    ],
)
def test_boundary_denies_action_of_administrator(action: str) -> None:
    assert effect(action) is Effect.DENIED


@pytest.mark.parametrize("action", ["ec2:RunInstances", "lambda:CreateFunction", "rds:DeleteDBInstance", "dynamodb:DeleteTable"])
def test_boundary_does_not_allow_unused_action(action: str) -> None:
    assert effect(action) is Effect.NOT_ALLOWED


@pytest.mark.requirement("CG-18")
def test_boundary_does_not_allow_other_regions() -> None:
    assert effect("s3:PutObject") is Effect.ALLOWED
    assert effect("s3:PutObject", {"aws:RequestedRegion": "us-east-1"}) is Effect.NOT_ALLOWED


def test_boundary_alone_grants_no_permission() -> None:
    assert effect("s3:PutObject", identity={"Version": "2012-10-17", "Statement": []}) is Effect.NOT_ALLOWED


def test_boundary_is_within_size_limit_of_managed_policy() -> None:
    text = json.dumps(boundary_policy(["ap-southeast-2", "ap-northeast-1"]), separators=(",", ":"))
    assert len(text.replace(" ", "")) <= CHARACTERS_MAX


def test_used_actions_are_unique_and_not_denied() -> None:
    assert len(USED) == len(set(USED))
    assert [action for action in USED if action.endswith(":*")] == []
    assert set(USED) & {action for actions in DENIED.values() for action in actions} == set()
