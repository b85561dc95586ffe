"""Permissions boundary of the stack's roles."""

import json
from typing import Any

import pytest

from components.iam.roles import boundary_policy
from components.naming import Naming
from components.settings.loader import parse
from tests.cases import cases
from tests.components.program import RESTORED, SECOND, run
from tests.components.settings.stack_settings import STACKS, raw_settings
from tests.iam_evaluation import ALLOW_ALL, Call, Effect, decide

_CASES = cases(__file__)

NAMES = Naming("dev", "123456789012", "eu-west-1")
LEGACY = "s3://acme-legacy/api_keys.json"
BOUNDARY = boundary_policy(NAMES, parse(raw_settings("dev", {"legacy_files": [LEGACY]}), "dev"))
HOME = {"aws:RequestedRegion": NAMES.region}
OWNER = "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn"


def effect(action: str, context: dict[str, Any] = HOME, resource: str = "*") -> Effect:
    """The effect of a call by a role that may do everything and has the boundary."""
    call = Call(NAMES.role_arn("gateway-task"), action, resource, context)
    return decide(call, identity=[ALLOW_ALL], limits=[BOUNDARY])


@pytest.mark.parametrize(
    ("stack", "region", "changes"),
    [*((stack, NAMES.region, {}) for stack in STACKS), ("prod", SECOND, RESTORED)],
)
def test_boundary_allows_every_granted_action(
    stack: str, region: str, changes: dict[str, Any]
) -> None:
    program = run(stack, changes=changes)
    policy = program.get("iam.Policy", "permissions-boundary")
    granted = {
        (action, resource)
        for role in program.of_type("iam.RolePolicy")
        for statement in json.loads(role.inputs["policy"])["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    limits = [json.loads(policy.inputs["policy"])]
    names = Naming(stack, NAMES.account, region)
    context = {"aws:RequestedRegion": region, OWNER: names.database_arn}
    context["kms:ResourceAliases"] = names.alias("x")
    passed = {"iam:PassRole": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len({action for action, _ in granted}) > 40
    not_allowed = {
        action
        for action, resource in granted
        if not decide(
            Call(NAMES.role_arn("x"), action, resource, context | passed.get(action, {})),
            identity=[ALLOW_ALL],
            limits=limits,
        ).allowed
    }
    assert not_allowed == set()


@pytest.mark.parametrize("call", _CASES["boundary_denies_action_of_administrator"])
def test_boundary_denies_action_of_administrator(call: str) -> None:
    action, _, resource = call.partition(" ")
    assert effect(action, resource=resource or "*") is Effect.DENIED


@pytest.mark.parametrize(
    ("action", "region", "expected"),
    [
        ("kms:Decrypt", NAMES.region, Effect.ALLOWED),
        ("kms:Decrypt", "us-east-1", Effect.NOT_ALLOWED),
        ("ec2:RunInstances", NAMES.region, Effect.NOT_ALLOWED),
    ],
)
def test_boundary_limits_to_used_actions_and_regions(
    action: str, region: str, expected: Effect
) -> None:
    assert effect(action, {"aws:RequestedRegion": region}) is expected


@pytest.mark.parametrize(
    ("action", "name"),
    [("rds-db:connect", "dbuser:db-1/gatehouse_x"), ("elasticache:Connect", "x:gatehouse-dev-x")],
)
def test_boundary_allows_connections_in_the_regions_of_the_stack(action: str, name: str) -> None:
    own = NAMES.arn(action.partition(":")[0], name)
    assert effect(action, resource=own).allowed
    for part in ("eu-", "gatehouse"):
        assert not effect(action, resource=own.replace(part, "x")).allowed
