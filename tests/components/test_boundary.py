"""No role of a stack is without the boundary, every grant lies within it, and no role escapes by a wider policy of its own."""

import json
from typing import Any

import pytest

from components.iam.permissions_boundary import DENIED, USED, boundary_policy
from components.naming import Naming
from policies.analysis.iam.evaluation import Call, Effect, decide
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

NAMES = Naming("dev", "123456789012", "eu-west-1")
HOME = {"aws:RequestedRegion": NAMES.region}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
CHARACTERS_MAX = 6144  # of a managed policy, white space not counted (IAM user guide, "IAM and AWS STS quotas")


def ends(action: str, context: dict[str, Any] = HOME, identity: dict[str, Any] = EVERYTHING) -> Effect:
    """How a call of a role ends that has `identity` and our boundary."""
    call = Call(NAMES.role_arn("gateway-task"), action, "*", context)
    return decide(call, identity=[identity], limits=[boundary_policy([NAMES.region])]).effect


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_every_role_of_a_stack_has_the_boundary(stack: str) -> None:
    program, names = run(stack), Naming(stack, "123456789012", "eu-west-1")
    assert program.one("iam/policy:Policy", "permissions-boundary").inputs["name"] == names.boundary
    # The pipeline's roles have a boundary of their own: tests/components/test_deployer.py.
    roles = [role for role in program.of("iam/role:Role") if "Federated" not in role.inputs["assumeRolePolicy"]]
    bounds = {role.name: role.inputs.get("permissionsBoundary") for role in roles}
    assert len(bounds) >= 10
    assert len(set(bounds.values())) == 1, bounds
    assert None not in bounds.values()


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_every_grant_of_a_role_lies_within_the_boundary(stack: str) -> None:
    program = run(stack)
    policy = program.one("iam/policy:Policy", "permissions-boundary")
    granted = {
        action
        for role in program.of("iam/rolePolicy:RolePolicy")
        for statement in json.loads(role.inputs["policy"])["Statement"]
        for action in statement["Action"]
    }
    limits = [json.loads(policy.inputs["policy"])]
    assert len(granted) > 40
    stopped = {
        action
        for action in granted
        if not decide(Call(NAMES.role_arn("x"), action, "*", HOME), identity=[EVERYTHING], limits=limits).allowed
    }
    assert stopped == set()


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
def test_a_role_with_everything_in_its_own_policy_is_still_denied(action: str) -> None:
    assert ends(action) is Effect.DENIED


@pytest.mark.parametrize("action", ["ec2:RunInstances", "lambda:CreateFunction", "rds:DeleteDBInstance", "dynamodb:DeleteTable"])
def test_what_no_role_has_a_use_for_is_not_allowed(action: str) -> None:
    assert ends(action) is Effect.NOT_ALLOWED


@pytest.mark.requirement("CG-18")
def test_no_role_acts_in_another_region() -> None:
    assert ends("s3:PutObject") is Effect.ALLOWED
    assert ends("s3:PutObject", {"aws:RequestedRegion": "us-east-1"}) is Effect.NOT_ALLOWED


def test_the_boundary_grants_nothing() -> None:
    assert ends("s3:PutObject", identity={"Version": "2012-10-17", "Statement": []}) is Effect.NOT_ALLOWED


def test_the_boundary_fits_into_a_managed_policy() -> None:
    text = json.dumps(boundary_policy(["ap-southeast-2", "ap-northeast-1"]), separators=(",", ":"))
    assert len(text.replace(" ", "")) <= CHARACTERS_MAX


def test_what_is_in_use_is_listed_once_and_no_whole_service_is() -> None:
    assert len(USED) == len(set(USED))
    assert [action for action in USED if action.endswith(":*")] == []
    assert set(USED) & {action for actions in DENIED.values() for action in actions} == set()
