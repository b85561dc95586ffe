"""Permissions boundary of the stack's roles."""

import json
from typing import Any

import pytest

from components.iam.roles import boundary_policy
from components.naming import Naming
from tests.components.program import POLICY_CHARACTERS_MAX, run
from tests.components.settings.stack_settings import STACKS
from tests.iam_evaluation import ALLOW_ALL, Call, Effect, RawDocument, decide

NAMES = Naming("dev", "123456789012", "eu-west-1")
TRAIL = NAMES.bucket_arn("trail")
LEGACY = "s3://acme-legacy/api_keys.json"
BOUNDARY = boundary_policy(NAMES, [NAMES.region], [LEGACY])
HOME = {"aws:RequestedRegion": NAMES.region}
OWNER = "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn"


def effect(
    action: str,
    context: dict[str, Any] = HOME,
    identity: RawDocument = ALLOW_ALL,
    resource: str = "*",
) -> Effect:
    """The effect of a call by a role with this identity policy and the boundary."""
    call = Call(NAMES.role_arn("gateway-task"), action, resource, context)
    return decide(call, identity=[identity], limits=[BOUNDARY])


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_boundary_allows_every_granted_action(stack: str) -> None:
    program = run(stack)
    policy = program.get("iam.Policy", "permissions-boundary")
    granted = {
        (action, resource)
        for role in program.of_type("iam.RolePolicy")
        for statement in json.loads(role.inputs["policy"])["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    limits = [json.loads(policy.inputs["policy"])]
    context = {**HOME, OWNER: Naming(stack, NAMES.account, NAMES.region).database_arn}
    assert len({action for action, _ in granted}) > 40
    not_allowed = {
        action
        for action, resource in granted
        if not decide(
            Call(NAMES.role_arn("x"), action, resource, context),
            identity=[ALLOW_ALL],
            limits=limits,
        ).allowed
    }
    assert not_allowed == set()


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    "call",
    [
        "iam:CreateUser",
        "iam:PutRolePolicy",
        "iam:PassRole",
        "iam:DeleteRolePermissionsBoundary",
        "sts:AssumeRole",
        "cloudtrail:StopLogging",
        "guardduty:DeleteDetector",
        "backup:DeleteRecoveryPoint",
        "kms:PutKeyPolicy",
        "kms:ScheduleKeyDeletion",
        "s3:PutBucketPolicy",
        "s3:BypassGovernanceRetention",
        "secretsmanager:DeleteSecret",
        "logs:Unmask",
        "logs:DeleteDataProtectionPolicy",
        "s3:GetObject arn:aws:s3:::state/.pulumi/stacks/gatehouse/prod.json",
        "s3:PutObject arn:aws:s3:::state/path/.pulumi/stacks/gatehouse-account/main.json",
        "s3:PutObject arn:aws:s3:::cdk-assets/template.json",
        "s3:DeleteObjectVersion arn:aws:s3:::gatehouse-prod-data/x",
        "s3:PutBucketNotification arn:aws:s3:::invoices",
        "s3:ListBucketVersions arn:aws:s3:::invoices",
        f"rds:AddTagsToResource {NAMES.arn('rds', 'db:invoices')}",
        f"rds:DeleteDBSnapshot {NAMES.arn('rds', 'snapshot:gatehouse-dev-main-final')}",
        f"dynamodb:DeleteBackup {NAMES.arn('dynamodb', 'table/invoices/backup/01')}",
        f"dynamodb:GetItem {NAMES.arn('dynamodb', 'table/invoices')}",
        f"ecr:BatchGetImage {NAMES.arn('ecr', 'repository/invoices')}",
        f"ecs:UpdateService {NAMES.arn('ecs', 'service/gatehouse-prod-main/x')}",
        f"elasticache:Connect {NAMES.arn('elasticache', 'replicationgroup:gatehouse-prod-cache')}",
        f"elasticloadbalancing:ModifyRule {NAMES.arn('elasticloadbalancing', 'listener-rule/x')}",
        f"lambda:InvokeFunction {NAMES.arn('lambda', 'function:gatehouse-prod-rotate')}",
        f"secretsmanager:GetSecretValue {NAMES.arn('secretsmanager', 'secret:invoices-a1B2c3')}",
        f"secretsmanager:GetSecretValue {NAMES.arn('secretsmanager', 'secret:rds!db-1-a1B2c3')}",
        f"secretsmanager:PutSecretValue {NAMES.of_stack('prod').secret_arn('core-credentials/x')}",
        f"sqs:SendMessage {NAMES.arn('sqs', 'invoices')}",
        f"events:DisableRule {NAMES.arn('events', 'rule/gatehouse-dev-guardduty-finding')}",
        f"events:PutTargets {NAMES.arn('events', 'rule/findings')}",
        f"s3:DeleteObjectVersion {TRAIL}/x",
        f"s3:PutBucketNotification {TRAIL}",
        f"s3:PutInventoryConfiguration {TRAIL}",
        f"logs:GetLogEvents {NAMES.log_group_arn('/aws/lambda/invoices:log-stream:x')}",
        f"logs:PutRetentionPolicy {NAMES.log_group_arn(NAMES.log_group('trail'))}",
    ],
)
def test_boundary_denies_action_of_administrator(call: str) -> None:
    """The deploy role creates roles with this boundary, and runs tasks with them."""
    action, _, resource = call.partition(" ")
    assert effect(action, resource=resource or "*") is Effect.DENIED


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    ("action", "region", "identity", "expected"),
    [
        ("kms:Decrypt", NAMES.region, ALLOW_ALL, Effect.ALLOWED),
        ("kms:Decrypt", "us-east-1", ALLOW_ALL, Effect.NOT_ALLOWED),
        (
            "kms:Decrypt",
            NAMES.region,
            {"Version": "2012-10-17", "Statement": []},
            Effect.NOT_ALLOWED,
        ),
        ("ec2:RunInstances", NAMES.region, ALLOW_ALL, Effect.NOT_ALLOWED),
        ("sns:DeleteTopic", NAMES.region, ALLOW_ALL, Effect.NOT_ALLOWED),
    ],
    ids=["used", "other region", "no identity policy", "unused", "deletion"],
)
def test_boundary_limits_to_used_actions_and_regions(
    action: str, region: str, identity: RawDocument, expected: Effect
) -> None:
    assert effect(action, {"aws:RequestedRegion": region}, identity) is expected


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("action", ["rds-db:connect", "elasticache:Connect"])
def test_boundary_allows_connections_in_the_regions_of_the_stack(action: str) -> None:
    service = action.partition(":")[0]
    effects = [
        effect(action, resource=NAMES.in_region(region).arn(service, "x:gatehouse-dev-x"))
        for region in (NAMES.region, "us-east-1")
    ]
    assert effects == [Effect.ALLOWED, Effect.NOT_ALLOWED]


def test_boundary_is_within_size_limit_of_managed_policy() -> None:
    names = Naming("staging", NAMES.account, "ap-southeast-2")
    text = json.dumps(boundary_policy(names, [names.region, "ap-northeast-1"], [LEGACY]))
    assert len(text.replace(" ", "")) <= POLICY_CHARACTERS_MAX
