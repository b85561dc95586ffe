"""Trust policies and permissions of the pipeline's roles."""

import json
from typing import Any

import pytest

from components.context import Stack
from components.delivery import policies
from components.delivery.scope import IMAGE, Delivery
from components.iam.documents import render
from components.iam.roles import boundary_policy
from components.naming import DEPLOY, PREVIEW
from components.settings.loader import parse
from tests.cases import cases
from tests.components.program import POLICY_CHARACTERS_MAX, VPC, run
from tests.components.settings.stack_settings import each_stack, raw_settings
from tests.iam_evaluation import ALLOW_ALL, Call, Effect, RawDocument, decide

_CASES = cases(__file__)


def pipeline(stack: str, changes: dict[str, Any]) -> Delivery:
    return Delivery(Stack.of(parse(raw_settings(stack, changes), stack)))


PIPELINE = pipeline(
    "prod",
    {
        "delivery": {"repository": "example/gatehouse", "state_bucket": "gatehouse-state"},
        "existing_resources": VPC,
    },
)
NAMES = PIPELINE.names
LONGEST = pipeline(
    "staging",
    {
        "region": "ap-southeast-2",
        "second_region": "ap-northeast-1",
        "network.zones": ["ap-southeast-2a", "ap-southeast-2b"],
        "backup.cross_region_copy": True,
        "legacy_files": [f"s3://{'b' * 63}/{name}_keys.json" for name in ("api", "old")],
        "sharing.api_gateway_log_role": True,
        "domain": f"{'d' * 63}.example.com",
        "cores_domain": f"{'c' * 50}.{'d' * 63}.example.com",
        "services.console.hosting": "cloudfront",
        "monitoring.slack_channel": "T0123ABCD/C0123ABCD",
        "secrets.operators": [f"arn:aws:iam::123456789012:role/{n}{'r' * 63}" for n in range(10)],
        "delivery": {
            "repository": f"{'o' * 39}/{'r' * 100}",
            "owner_id": "1" * 20,
            "repository_id": "1" * 20,
            "state_bucket": "s" * 63,
            "state_key_arn": f"arn:aws:kms:ap-southeast-2:123456789012:key/mrk-{'0' * 32}",
        },
    },
)
IN_REGION = {"aws:RequestedRegion": "eu-west-1"}
ALARM = NAMES.arn("cloudwatch", "alarm:gatehouse-prod-links")


def effect(
    role: str, action: str, resource: str = "*", *more: RawDocument, **context: str
) -> Effect:
    """The effect of a call by a pipeline role. `more`: further policies of the role."""
    documents = policies.policies(PIPELINE)
    own = [documents[name] for name in policies.attached_policies(role, documents)]
    call = Call(NAMES.role_arn(role), action, resource, context)
    return decide(call, identity=[*own, *more], limits=[policies.boundary(PIPELINE)])


def can_assume(
    role: str, subject: str, audience: str = "sts.amazonaws.com", delivery: Delivery = PIPELINE
) -> bool:
    trust, issuer = policies.trust_policy(delivery, role), delivery.settings.delivery.issuer
    claims = {f"{issuer}:sub": subject, f"{issuer}:aud": audience}
    provider = policies.provider_arn(NAMES, issuer)
    call = Call(provider, "sts:AssumeRoleWithWebIdentity", NAMES.role_arn(role), claims)
    return decide(call, resource=trust, resource_decides=True).allowed


@pytest.mark.parametrize(
    ("role", "environment"),
    [(DEPLOY, "prod"), (PREVIEW, "prod-preview"), (PREVIEW, "prod-drift"), (IMAGE, "prod-image")],
    ids=[DEPLOY, PREVIEW, "drift", IMAGE],
)
def test_role_trusts_its_environments_of_one_repository(role: str, environment: str) -> None:
    assert can_assume(role, f"repo:example/gatehouse:environment:{environment}")
    for other in (
        "repo:example/gatehouse:environment:dev",
        "repo:example/gatehouse:environment:prod-other",
        "repo:example/gatehouse:ref:refs/heads/main",
        "repo:example/gatehouse:pull_request",
        f"repo:stranger/gatehouse:environment:{environment}",
        f"repo:example/gatehouse-fork:environment:{environment}",
    ):
        assert not can_assume(role, other), other
    assert not can_assume(
        role,
        f"repo:example/gatehouse:environment:{environment}",
        audience="https://github.com/example",
    )


def test_role_trusts_subjects_with_the_ids_of_its_repository() -> None:
    settings = {"repository": "example/gatehouse", "owner_id": "12", "repository_id": "34"}
    delivery = pipeline("prod", {"delivery": settings})
    names, ids = "repo:example/gatehouse", "repo:example@12/gatehouse@34"
    for subject in (names, ids):
        assert can_assume(DEPLOY, f"{subject}:environment:prod", delivery=delivery)
    assert not can_assume(DEPLOY, f"{ids}:environment:prod")
    for other in ("repo:example@12/gatehouse@35", "repo:example@13/gatehouse@34"):
        assert not can_assume(DEPLOY, f"{other}:environment:prod", delivery=delivery)


def test_role_trusts_jobs_of_github_enterprise_server() -> None:
    settings = {"repository": "example/gatehouse", "issuer": "github.acme.dev/_services/token"}
    delivery = pipeline("prod", {"delivery": settings})
    subject = "repo:example/gatehouse:environment:prod"
    assert can_assume(DEPLOY, subject, delivery=delivery)
    assert not can_assume(PREVIEW, subject, delivery=delivery)
    trust = json.dumps(policies.trust_policy(delivery, DEPLOY))
    assert "oidc-provider/github.acme.dev/_services/token" in trust
    assert "githubusercontent" not in trust


def test_role_trusts_its_subjects_at_gitlab() -> None:
    main = "project_path:acme/gatehouse:ref_type:branch:ref:main"
    review = "project_path:acme/gatehouse:ref_type:branch:ref:review"
    subjects = [f"deploy={main}", f"preview={main}", f"preview={review}", f"image={main}"]
    settings = {"repository": "acme/gatehouse", "issuer": "gitlab.com", "subjects": subjects}
    delivery = pipeline("prod", {"delivery": settings})
    assert can_assume(PREVIEW, review, delivery=delivery)
    assert not can_assume(DEPLOY, review, delivery=delivery)
    for role in (DEPLOY, PREVIEW, IMAGE):
        assert can_assume(role, main, delivery=delivery)
        assert not can_assume(role, "repo:acme/gatehouse:environment:prod", delivery=delivery)


@each_stack
def test_stack_files_trust_no_repository(stack: str) -> None:
    assert "delivery" not in raw_settings(stack)
    program = run(stack)
    assert not [
        role.name
        for role in program.of_type("iam.Role")
        if "Federated" in role.inputs["assumeRolePolicy"]
    ]
    assert program.exports["deliveryRoles"] == {}


def test_policies_are_within_iam_quotas() -> None:
    for name, policy in {
        **policies.policies(LONGEST),
        "boundary": policies.boundary(LONGEST),
        "own": boundary_policy(LONGEST.names, LONGEST.settings),
    }.items():
        assert len(render(policy)) <= POLICY_CHARACTERS_MAX, name
    assert len(policies.attached_policies(DEPLOY, policies.policies(LONGEST))) <= 10, (
        "the quota of attached policies of a role"
    )


ALLOWED: dict[str, Any] = _CASES["allowed"]
DENIED: dict[str, Any] = _CASES["denied"]
"""Actions that each role can or cannot take, with resource and context (`IN_REGION` by default)."""


@pytest.mark.parametrize(
    ("role", "actions", "resource", "context", "expected"),
    [
        (role, *row, *([IN_REGION] if len(row) == 2 else []), expected)
        for expected, rows in ((True, ALLOWED), (False, DENIED))
        for role in rows
        for row in rows[role]
    ],
)
def test_role_can_only_take_actions_of_its_job(
    role: str, actions: str, resource: str, context: dict[str, str], expected: bool
) -> None:
    for action in actions.split():
        call = effect(role, action, resource, **context)
        assert (call is Effect.ALLOWED) is expected, action


@pytest.mark.parametrize(
    "action",
    [
        *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "sts:AssumeRole"),
        *("secretsmanager:GetSecretValue", "dynamodb:GetItem", "kms:ScheduleKeyDeletion"),
        *("cloudtrail:StopLogging", "organizations:LeaveOrganization"),
    ],
)
@pytest.mark.parametrize("role", [PREVIEW, DEPLOY, IMAGE])
def test_boundary_limits_administrator_policy(role: str, action: str) -> None:
    assert effect(role, action, "*", ALLOW_ALL, **IN_REGION) is not Effect.ALLOWED


def test_preview_policies_contain_read_actions_only() -> None:
    verbs = ("Describe", "Get", "List", "View", "GET")
    documents = policies.policies(PIPELINE)
    actions = {
        a
        for name in policies.attached_policies(PREVIEW, documents)
        for s in documents[name]["Statement"]
        for a in s["Action"]
    }
    assert [
        action for action in sorted(actions) if not action.partition(":")[2].startswith(verbs)
    ] == []


@pytest.mark.parametrize("heartbeat", [False, True])
def test_preview_reads_the_region_of_the_heartbeat(heartbeat: bool) -> None:
    changes = {"monitoring.heartbeat": heartbeat, "monitoring.emails": ["team@example.com"]}
    delivery = pipeline("staging", changes)
    assert delivery.settings.replica_region == ""
    documents = policies.policies(delivery)
    own = [documents[name] for name in policies.attached_policies(PREVIEW, documents)]
    region = {"aws:RequestedRegion": delivery.settings.second_region}
    call = Call(delivery.names.role_arn(PREVIEW), "cloudwatch:DescribeAlarms", "*", region)
    assert decide(call, identity=own).allowed is heartbeat
