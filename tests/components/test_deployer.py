"""Who may take the pipeline's roles, from which job, and what no deployment can do with them; asked of the documents."""

import json
from typing import Any

import pytest

from components.delivery import policies
from components.delivery.deploy_permissions import Pipeline
from components.delivery.policies import DEPLOY, IMAGE, PREVIEW
from components.iam.documents import render
from components.naming import Naming
from policies.analysis.iam.evaluation import Call, Effect, decide
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS, raw_settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

NAMES = Naming("prod", "123456789012", "eu-west-1")
REACH = Pipeline(NAMES, "example/gatehouse", "gatehouse.example.com", "eu-central-1", "gatehouse-state")
LONGEST = Pipeline(
    Naming("staging", "123456789012", "ap-southeast-2"),
    f"{'o' * 39}/{'r' * 100}",
    f"{'d' * 63}.example.com",
    "ap-northeast-1",
    "s" * 63,
    "arn:aws:kms:ap-southeast-2:123456789012:key/mrk-00000000000000000000000000000000",
)
HERE = {"aws:RequestedRegion": "eu-west-1"}
GLOBAL = {"aws:RequestedRegion": "us-east-1"}
OURS = {"aws:ResourceTag/Project": "gatehouse", "aws:ResourceTag/Environment": "prod"}
NEW = {"aws:RequestTag/Project": "gatehouse", "aws:RequestTag/Environment": "prod"}
BOUNDED = {"iam:PermissionsBoundary": NAMES.boundary_arn}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
TRAIL = NAMES.bucket_arn("trail")
STATE = "arn:aws:s3:::gatehouse-state"
GATEWAY = NAMES.role_arn("gateway-task")


def effect(role: str, action: str, resource: str = "*", *more: dict[str, Any], **context: str) -> Effect:
    """What becomes of a call of a role of the pipeline; `more`: policies that somebody attached to it besides."""
    documents = policies.policies(REACH)
    own = [documents[name] for name in policies.attached_policies(role, documents)]
    call = Call(NAMES.role_arn(role), action, resource, context)
    return decide(call, identity=[*own, *more], limits=[policies.boundary(REACH)]).effect


def may(role: str, action: str, resource: str = "*", context: dict[str, str] | None = None) -> bool:
    return effect(role, action, resource, **(HERE if context is None else context)) is Effect.ALLOWED


def takes(role: str, subject: str, audience: str = "sts.amazonaws.com") -> bool:
    trust = policies.trust_policy(REACH, policies.github_environment(role, NAMES))
    said = {f"{policies.ISSUER}:sub": subject, f"{policies.ISSUER}:aud": audience}
    call = Call(policies.provider_arn(NAMES), "sts:AssumeRoleWithWebIdentity", NAMES.role_arn(role), said)
    return decide(call, resource=trust, resource_decides=True).allowed


@pytest.mark.requirement("ECS-01")
@pytest.mark.parametrize(
    ("role", "environment"), [(DEPLOY, "prod"), (PREVIEW, "prod-preview"), (IMAGE, "prod-image")], ids=[DEPLOY, PREVIEW, IMAGE]
)
def test_a_role_is_taken_from_one_environment_of_one_repository(role: str, environment: str) -> None:
    assert takes(role, f"repo:example/gatehouse:environment:{environment}")
    for other in (
        "repo:example/gatehouse:environment:dev",
        "repo:example/gatehouse:environment:prod-other",
        "repo:example/gatehouse:ref:refs/heads/main",
        "repo:example/gatehouse:pull_request",
        f"repo:stranger/gatehouse:environment:{environment}",
        f"repo:example/gatehouse-fork:environment:{environment}",
    ):
        assert not takes(role, other), other
    assert not takes(role, f"repo:example/gatehouse:environment:{environment}", audience="https://github.com/example")


@pytest.mark.parametrize("stack", STACKS)
def test_the_environments_of_the_workflows_are_those_that_are_trusted(stack: str) -> None:
    subjects = {
        role.name: json.loads(role.inputs["assumeRolePolicy"])["Statement"][0]["Condition"]["StringEquals"][
            f"{policies.ISSUER}:sub"
        ]
        for role in run(stack).of("iam/role:Role")
        if "AllowGitHubToAssumeRole" in role.inputs["assumeRolePolicy"]
    }
    assert subjects == {
        "preview": f"repo:example/gatehouse:environment:{stack}-preview",
        "deploy": f"repo:example/gatehouse:environment:{stack}",
        "image": f"repo:example/gatehouse:environment:{stack}-image",
    }


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("stack", STACKS)
def test_every_role_of_the_pipeline_has_its_boundary_and_only_policies_of_ours(stack: str) -> None:
    program = run(stack)
    for thing in (PREVIEW, DEPLOY, IMAGE):
        role = program.one("iam/role:Role", thing).inputs
        assert role["permissionsBoundary"] == "arn:aws:mock:::deploy-boundary"
        assert role["maxSessionDuration"] <= 7200
    policies = {policy.inputs["name"] for policy in program.of("iam/policy:Policy")}
    assert f"gatehouse-{stack}-deploy-boundary" in policies
    attached = [one.inputs["policyArn"] for one in program.of("iam/rolePolicyAttachment:RolePolicyAttachment")]
    assert all(arn.startswith("arn:aws:mock:::") for arn in attached)


@pytest.mark.parametrize(("stack", "makes"), [("dev", 0), ("staging", 0), ("prod", 1)])
def test_one_stack_of_the_account_makes_the_provider(stack: str, makes: int) -> None:
    found = run(stack).of("iam/openIdConnectProvider:OpenIdConnectProvider")
    assert [(one.inputs["url"], one.inputs["clientIdLists"]) for one in found] == [
        ("https://token.actions.githubusercontent.com", ["sts.amazonaws.com"])
    ] * makes


def test_without_a_repository_there_is_no_role() -> None:
    assert "delivery" in raw_settings("dev")
    program = run("dev", changes=json.dumps({"delivery": {}}))
    assert not [role.name for role in program.of("iam/role:Role") if "Federated" in role.inputs["assumeRolePolicy"]]


def test_every_policy_fits_into_what_aws_takes_with_the_longest_names() -> None:
    for name, policy in {**policies.policies(LONGEST), "boundary": policies.boundary(LONGEST)}.items():
        assert len(render(policy)) <= policies.POLICY_CHARACTERS_MAX, name
    assert len(policies.attached_policies(DEPLOY, policies.policies(LONGEST))) <= 10, "the quota of attached policies of a role"


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ecs:UpdateService", NAMES.arn("ecs", "service/gatehouse-prod-main/gatehouse-prod-gateway"), HERE),
        ("ecs:RunTask", NAMES.arn("ecs", "task-definition/gatehouse-prod-migrate:3"), HERE),
        ("rds:ModifyDBInstance", NAMES.database_arn, HERE),
        ("ec2:CreateSubnet", "*", {**HERE, **NEW}),
        ("ec2:DeleteSubnet", NAMES.arn("ec2", "subnet/subnet-1"), {**HERE, **OURS}),
        ("kms:PutKeyPolicy", NAMES.arn("kms", "key/1"), {**HERE, **OURS}),
        ("iam:CreateRole", GATEWAY, {**GLOBAL, **BOUNDED}),
        ("iam:PutRolePolicy", GATEWAY, {**GLOBAL, **BOUNDED}),
        ("iam:PassRole", GATEWAY, {**GLOBAL, "iam:PassedToService": "ecs-tasks.amazonaws.com"}),
        ("s3:PutObject", f"{STATE}/.pulumi/stacks/gatehouse/prod.json", HERE),
        ("s3:PutObject", f"{STATE}/.pulumi/locks/organization/gatehouse/prod/1.json", HERE),
        ("s3:PutLifecycleConfiguration", NAMES.bucket_arn("data"), HERE),
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
            {**GLOBAL, "route53:ChangeResourceRecordSetsNormalizedRecordNames": "gateway.gatehouse.example.com"},
        ),
    ],
)
def test_a_deployment_changes_what_the_stack_is_made_of(action: str, resource: str, context: dict[str, str]) -> None:
    assert may(DEPLOY, action, resource, context)


@pytest.mark.requirement("ECS-01", "CG-18")
@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        # Itself, and the bounds of others.
        ("iam:AttachRolePolicy", NAMES.role_arn("deploy"), {**GLOBAL, **BOUNDED}),
        ("iam:PutRolePolicy", NAMES.role_arn("deploy"), {**GLOBAL, **BOUNDED}),
        ("iam:UpdateAssumeRolePolicy", NAMES.role_arn("deploy"), GLOBAL),
        ("iam:CreatePolicyVersion", f"arn:aws:iam::{NAMES.account}:policy/gatehouse-prod-deploy-boundary", GLOBAL),
        ("iam:CreatePolicyVersion", NAMES.boundary_arn, GLOBAL),
        ("iam:DeleteRolePermissionsBoundary", GATEWAY, {**GLOBAL, **BOUNDED}),
        (
            "iam:PutRolePermissionsBoundary",
            GATEWAY,
            {**GLOBAL, "iam:PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"},
        ),
        ("iam:CreateRole", NAMES.role_arn("back-service"), GLOBAL),
        ("iam:PutRolePolicy", GATEWAY, GLOBAL),
        ("iam:CreateRole", f"arn:aws:iam::{NAMES.account}:role/other", {**GLOBAL, **BOUNDED}),
        ("iam:CreateUser", f"arn:aws:iam::{NAMES.account}:user/back-service", GLOBAL),
        ("iam:CreateAccessKey", f"arn:aws:iam::{NAMES.account}:user/back-service", GLOBAL),
        ("iam:PassRole", GATEWAY, {**GLOBAL, "iam:PassedToService": "ec2.amazonaws.com"}),
        ("sts:AssumeRole", GATEWAY, HERE),
        ("iam:UpdateOpenIDConnectProviderThumbprint", policies.provider_arn(NAMES), GLOBAL),
        # Evidence.
        ("s3:PutBucketObjectLockConfiguration", TRAIL, HERE),
        ("s3:BypassGovernanceRetention", f"{TRAIL}/x", HERE),
        ("s3:PutObjectRetention", f"{TRAIL}/x", HERE),
        ("s3:PutLifecycleConfiguration", TRAIL, HERE),
        ("s3:PutBucketPolicy", TRAIL, HERE),
        ("cloudtrail:StopLogging", NAMES.arn("cloudtrail", "trail/gatehouse-prod-trail"), HERE),
        ("cloudtrail:PutEventSelectors", NAMES.arn("cloudtrail", "trail/gatehouse-prod-trail"), HERE),
        ("backup:DeleteRecoveryPoint", NAMES.arn("backup", "recovery-point:1"), HERE),
        ("backup:PutBackupVaultAccessPolicy", NAMES.arn("backup", "backup-vault:gatehouse-prod-backup"), HERE),
        # Data.
        ("kms:ScheduleKeyDeletion", NAMES.arn("kms", "key/1"), {**HERE, **OURS}),
        ("rds:DeleteDBInstance", NAMES.database_arn, HERE),
        ("dynamodb:DeleteTable", NAMES.table_arn("tokens"), HERE),
        ("s3:DeleteBucket", NAMES.bucket_arn("data"), HERE),
        ("secretsmanager:GetSecretValue", NAMES.arn("secretsmanager", "secret:gatehouse/prod/pepper-a1B2c3"), HERE),
        ("s3:GetObject", f"{NAMES.bucket_arn('data')}/x", HERE),
        ("dynamodb:GetItem", NAMES.table_arn("tokens"), HERE),
        ("kms:Decrypt", NAMES.arn("kms", "key/1"), {**HERE, **OURS}),
        # What is not this stack's.
        ("s3:PutObject", f"{STATE}/.pulumi/stacks/gatehouse/dev.json", HERE),
        ("s3:PutObject", f"{STATE}/.pulumi/stacks/gatehouse/prod-2.json", HERE),
        ("ecs:UpdateService", NAMES.arn("ecs", "service/gatehouse-dev-main/gatehouse-dev-gateway"), HERE),
        ("ec2:DeleteSubnet", NAMES.arn("ec2", "subnet/subnet-2"), {**HERE, **OURS, "aws:ResourceTag/Environment": "dev"}),
        ("ec2:DeleteSubnet", NAMES.arn("ec2", "subnet/subnet-1"), {**OURS, "aws:RequestedRegion": "us-west-2"}),
        ("ec2:CreateTags", NAMES.arn("ec2", "vpc/vpc-9"), {**HERE, **NEW}),
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z2",
            {**GLOBAL, "route53:ChangeResourceRecordSetsNormalizedRecordNames": "www.example.com"},
        ),
        ("guardduty:DeleteDetector", "*", HERE),
        ("organizations:LeaveOrganization", "*", GLOBAL),
    ],
)
def test_a_deployment_cannot(action: str, resource: str, context: dict[str, str]) -> None:
    assert not may(DEPLOY, action, resource, context)


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    "action",
    [
        *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "sts:AssumeRole", "secretsmanager:GetSecretValue"),
        *("dynamodb:GetItem", "kms:ScheduleKeyDeletion", "cloudtrail:StopLogging", "organizations:LeaveOrganization"),
    ],
)
@pytest.mark.parametrize("role", [PREVIEW, DEPLOY, IMAGE])
def test_the_boundary_holds_even_an_administrators_policy(role: str, action: str) -> None:
    assert effect(role, action, "*", EVERYTHING, **HERE) is not Effect.ALLOWED


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("secretsmanager:GetSecretValue", NAMES.arn("secretsmanager", "secret:gatehouse/prod/pepper-a1B2c3")),
        ("s3:GetObject", f"{NAMES.bucket_arn('data')}/x"),
        ("s3:GetObjectVersion", f"{TRAIL}/x"),
        ("dynamodb:GetItem", NAMES.table_arn("tokens")),
        ("dynamodb:Scan", NAMES.table_arn("tokens")),
        ("logs:GetLogEvents", NAMES.log_group_arn("/gatehouse/prod/gateway:log-stream:x")),
        ("logs:FilterLogEvents", NAMES.log_group_arn("/gatehouse/prod/gateway:*")),
        ("kms:Decrypt", NAMES.arn("kms", "key/1")),
        ("rds-db:connect", NAMES.arn("rds-db", "dbuser:db-1/gatehouse_app")),
        ("ec2:GetConsoleOutput", "*"),
        ("lambda:InvokeFunction", NAMES.arn("lambda", "function:gatehouse-prod-rotate")),
        ("s3:PutObject", f"{STATE}/.pulumi/stacks/gatehouse/prod.json"),
        ("s3:GetObject", f"{STATE}/.pulumi/stacks/gatehouse/dev.json"),
        ("ecs:UpdateService", NAMES.arn("ecs", "service/gatehouse-prod-main/gatehouse-prod-gateway")),
        ("iam:PassRole", GATEWAY),
        ("iam:CreateRole", GATEWAY),
    ],
)
def test_a_preview_reads_no_data_and_changes_nothing(action: str, resource: str) -> None:
    assert not may(PREVIEW, action, resource)


def test_a_preview_changes_nothing_in_any_service() -> None:
    verbs = ("Describe", "Get", "List", "View", "GET")
    documents = policies.policies(REACH)
    actions = {
        a for name in policies.attached_policies(PREVIEW, documents) for s in documents[name]["Statement"] for a in s["Action"]
    }
    assert [action for action in sorted(actions) if not action.partition(":")[2].startswith(verbs)] == []


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("s3:GetObject", f"{STATE}/.pulumi/stacks/gatehouse/prod.json", HERE),
        ("s3:GetBucketPolicy", NAMES.bucket_arn("data"), HERE),
        ("iam:GetRolePolicy", GATEWAY, GLOBAL),
        ("kms:GetKeyPolicy", NAMES.arn("kms", "key/1"), {"aws:RequestedRegion": "eu-central-1"}),
        ("ecs:DescribeServices", "*", HERE),
    ],
)
def test_a_preview_reads_how_the_stack_is_set_up(action: str, resource: str, context: dict[str, str]) -> None:
    assert may(PREVIEW, action, resource, context)


def test_the_image_role_pushes_into_our_repositories_and_removes_nothing() -> None:
    ours = NAMES.arn("ecr", "repository/gatehouse-prod-runtime")
    assert may(IMAGE, "ecr:PutImage", ours)
    assert not may(IMAGE, "ecr:PutImage", NAMES.arn("ecr", "repository/gatehouse-dev-runtime"))
    assert not may(IMAGE, "ecr:BatchDeleteImage", ours)
    assert not may(IMAGE, "ecr:SetRepositoryPolicy", ours)
    assert not may(IMAGE, "ecs:UpdateService", NAMES.arn("ecs", "service/gatehouse-prod-main/gatehouse-prod-gateway"))
