"""Trust policies and permissions of the pipeline's roles."""

from typing import Any

import pytest

from components.context import Stack
from components.delivery import policies
from components.delivery.statements import IMAGE, Delivery
from components.iam.documents import render
from components.iam.roles import boundary_policy
from components.naming import DEPLOY, PREVIEW
from components.settings.loader import parse
from tests.components.program import POLICY_CHARACTERS_MAX, VPC, run
from tests.components.settings.stack_settings import each_stack, raw_settings
from tests.iam_evaluation import ALLOW_ALL, Call, Effect, RawDocument, decide


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
IN_US_EAST_1 = {"aws:RequestedRegion": "us-east-1"}
TAGGED = {"aws:ResourceTag/Project": "gatehouse", "aws:ResourceTag/Environment": "prod"}
NEW = {"aws:RequestTag/Project": "gatehouse", "aws:RequestTag/Environment": "prod"}
RECORDS = "route53:ChangeResourceRecordSets"
RECORD_NAMES = f"{RECORDS}NormalizedRecordNames"
ZONE = "arn:aws:route53:::hostedzone/Z1"
BOUNDED = {"iam:PermissionsBoundary": NAMES.boundary_arn}
TRAIL = NAMES.bucket_arn("trail")
STATE = "arn:aws:s3:::gatehouse-state"
GATEWAY = NAMES.role_arn("gateway-task")
API_GATEWAY = "ops.apigateway.amazonaws.com"
REPOSITORY = NAMES.arn("ecr", "repository/gatehouse-prod-runtime")
KEY = NAMES.arn("kms", "key/1")
CREATE_SECRET, PASSWORD = "secretsmanager:CreateSecret", NAMES.managed_secret_arn
FUNCTION = NAMES.arn("lambda", "function:gatehouse-prod-rotate")
REST_API = "arn:aws:apigateway:eu-west-1::"
CLUSTER = NAMES.arn("ecs", "cluster/gatehouse-prod-main")
SERVICE = NAMES.arn("ecs", "service/gatehouse-prod-main/gatehouse-prod-gateway")
TASK = NAMES.arn("ecs", "task-definition/gatehouse-prod-migrate:1")
ALARM = NAMES.arn("cloudwatch", "alarm:gatehouse-prod-links")
ACTIONS = "cloudwatch:AlarmActions"
TOPIC = NAMES.arn("sns", "gatehouse-prod-tickets")


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
    trust = policies.trust_policy(delivery, policies.github_environments(role, NAMES))
    claims = {f"{policies.ISSUER}:sub": subject, f"{policies.ISSUER}:aud": audience}
    call = Call(
        policies.provider_arn(NAMES), "sts:AssumeRoleWithWebIdentity", NAMES.role_arn(role), claims
    )
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


ALLOWED: dict[str, list[tuple[Any, ...]]] = {
    # tests/sandbox/emulator/test_prod_stack.py deploys a stack under the role.
    DEPLOY: [
        *(
            ("s3:PutObject", f"{STATE}/.pulumi/{folder}/gatehouse/prod{name}.json")
            for folder, name in (("stacks", ""), ("locks/organization", "/1"), ("history", "/x"))
        ),
        # ECR grants itself the use of the key for a new repository (ECR User Guide, "Encryption at
        # rest").
        (
            "kms:CreateGrant",
            KEY,
            {**IN_REGION, **TAGGED, "kms:ViaService": "ecr.eu-west-1.amazonaws.com"},
        ),
        (
            "kms:PutKeyPolicy",
            KEY,
            {**IN_REGION, **TAGGED, "kms:ResourceAliases": NAMES.alias("data")},
        ),
        ("logs:PutMetricFilter", NAMES.log_group_arn(NAMES.log_group("gateway"))),
        (
            "cloudwatch:PutMetricAlarm cloudwatch:PutCompositeAlarm",
            ALARM,
            {**IN_REGION, ACTIONS: TOPIC},
        ),
        ("ecs:RunTask", TASK, {**IN_REGION, "ecs:cluster": CLUSTER}),
        ("ec2:CreateSecurityGroup", NAMES.arn("ec2", f"vpc/{VPC['vpc_id']}")),
        ("apigateway:SetWebACL wafv2:AssociateWebACL", f"{REST_API}/restapis/x/stages/live"),
        ("apigateway:POST", f"{REST_API}/domainnames/sharing.gatehouse.example.com/x"),
        (CREATE_SECRET, PASSWORD, {**IN_REGION, "aws:ViaAWSService": "true"}),
        (RECORDS, ZONE, {**IN_US_EAST_1, RECORD_NAMES: "_x.console.gatehouse.example.com"}),
        # A regional domain name requires the role
        # (https://github.com/amplify-education/serverless-domain-manager/issues/112).
        (
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{NAMES.account}:role/aws-service-role/{API_GATEWAY}/AWSServiceRoleFor",
            {**IN_US_EAST_1, "iam:AWSServiceName": API_GATEWAY},
        ),
    ],
    PREVIEW: [
        ("s3:GetObject", f"{STATE}/.pulumi/stacks/gatehouse/prod.json"),
        ("s3:GetBucketPolicy", NAMES.bucket_arn("data")),
        ("iam:GetRolePolicy", GATEWAY, IN_US_EAST_1),
        ("kms:GetKeyPolicy", KEY, {"aws:RequestedRegion": "eu-central-1"}),
        ("ecs:DescribeServices", "*"),
        ("lambda:GetFunction lambda:GetPolicy", FUNCTION),
        ("lambda:GetFunctionConfiguration lambda:GetAlias", f"{FUNCTION}:1"),
        ("apigateway:GET", f"{REST_API}/restapis/x/resources/y/methods/GET/integration"),
        ("apigateway:GET", f"{REST_API}/tags/arn%3Aaws%3A%2Frestapis%2Fx"),
    ],
    IMAGE: [("ecr:PutImage", REPOSITORY)],
}
DENIED: dict[str, list[tuple[Any, ...]]] = {
    DEPLOY: [
        # Permissions, trust and boundaries of the role itself, and identities of others.
        (
            "iam:AttachRolePolicy iam:PutRolePolicy iam:UpdateAssumeRolePolicy",
            NAMES.role_arn("deploy"),
            {**IN_US_EAST_1, **BOUNDED},
        ),
        (
            "iam:UpdateAssumeRolePolicy iam:DeleteRole iam:PassRole",
            NAMES.role_arn("operator"),
            {**IN_US_EAST_1, "iam:PassedToService": "lambda.amazonaws.com"},
        ),
        (
            "iam:CreatePolicyVersion",
            f"arn:aws:iam::{NAMES.account}:policy/gatehouse-prod-deploy-boundary",
            IN_US_EAST_1,
        ),
        ("iam:CreatePolicyVersion", NAMES.boundary_arn, IN_US_EAST_1),
        ("iam:DeleteRolePermissionsBoundary", GATEWAY, {**IN_US_EAST_1, **BOUNDED}),
        (
            "iam:PutRolePermissionsBoundary",
            GATEWAY,
            {**IN_US_EAST_1, "iam:PermissionsBoundary": "arn:aws:iam::aws:policy/PowerUserAccess"},
        ),
        ("iam:CreateRole", NAMES.role_arn("back-service"), IN_US_EAST_1),
        ("iam:PutRolePolicy", GATEWAY, IN_US_EAST_1),
        ("iam:CreateRole", f"arn:aws:iam::{NAMES.account}:role/other", {**IN_US_EAST_1, **BOUNDED}),
        ("iam:PassRole", GATEWAY, {**IN_US_EAST_1, "iam:PassedToService": "ec2.amazonaws.com"}),
        ("iam:UpdateOpenIDConnectProviderThumbprint", policies.provider_arn(NAMES), IN_US_EAST_1),
        # Audit logs and backups.
        ("s3:PutBucketObjectLockConfiguration", TRAIL),
        ("s3:BypassGovernanceRetention s3:PutObjectRetention", f"{TRAIL}/x"),
        ("s3:PutLifecycleConfiguration s3:PutBucketPolicy", TRAIL),
        (
            "cloudtrail:StopLogging cloudtrail:PutEventSelectors",
            NAMES.arn("cloudtrail", "trail/gatehouse-prod-trail"),
        ),
        *(
            (
                "kms:PutKeyPolicy kms:TagResource kms:UntagResource kms:UpdateAlias "
                "kms:DeleteAlias",
                KEY,
                {**IN_REGION, **TAGGED, "kms:ResourceAliases": NAMES.alias(key)},
            )
            for key in ("logs", "backup")
        ),
        (
            "logs:DeleteMetricFilter logs:PutMetricFilter logs:PutRetentionPolicy",
            NAMES.log_group_arn(NAMES.log_group("trail")),
        ),
        ("logs:AssociateKmsKey", f"{NAMES.log_group_arn(NAMES.log_group('trail'))}:*"),
        (
            "cloudwatch:DeleteAlarms cloudwatch:PutMetricAlarm",
            NAMES.arn("cloudwatch", "alarm:gatehouse-prod-cis-root"),
        ),
        (
            "iam:DeleteRolePolicy iam:DeleteRole",
            NAMES.role_arn("trail-log"),
            {**IN_US_EAST_1, **BOUNDED},
        ),
        ("sns:Unsubscribe sns:SetTopicAttributes", TOPIC),
        ("backup:DeleteRecoveryPoint", NAMES.arn("backup", "recovery-point:1")),
        (
            "backup:PutBackupVaultAccessPolicy",
            NAMES.arn("backup", "backup-vault:gatehouse-prod-backup"),
        ),
        # Data stores and secrets.
        ("rds:DeleteDBInstance", NAMES.database_arn),
        ("s3:DeleteBucket", NAMES.bucket_arn("data")),
        (CREATE_SECRET, PASSWORD),
        ("s3:GetObject", f"{NAMES.bucket_arn('data')}/x"),
        ("dynamodb:GetItem dynamodb:DeleteTable", NAMES.table_arn("tokens")),
        ("kms:ScheduleKeyDeletion kms:Decrypt", KEY, {**IN_REGION, **TAGGED}),
        # Resources of other stacks.
        *(
            ("s3:PutObject", f"{STATE}/.pulumi/stacks/{name}.json")
            for name in ("gatehouse/dev", "gatehouse/prod-2", "acme-gatehouse/prod")
        ),
        ("s3:PutObject", f"{STATE}/.pulumi/locks/organization/gatehouse/dev/gatehouse/prod/1.json"),
        ("ecs:UpdateService", NAMES.arn("ecs", "service/gatehouse-dev-main/gatehouse-dev-gateway")),
        ("ecs:RunTask", TASK),
        ("ecs:RunTask", TASK, {**IN_REGION, "ecs:cluster": NAMES.arn("ecs", "cluster/default")}),
        ("cloudwatch:PutMetricAlarm", ALARM, {**IN_REGION, ACTIONS: "arn:aws:automate:x:ec2:stop"}),
        (
            "ec2:DeleteSubnet",
            NAMES.arn("ec2", "subnet/subnet-2"),
            {**IN_REGION, **TAGGED, "aws:ResourceTag/Environment": "dev"},
        ),
        (
            "ec2:DeleteSubnet",
            NAMES.arn("ec2", "subnet/subnet-1"),
            {**TAGGED, "aws:RequestedRegion": "us-west-2"},
        ),
        ("ec2:CreateTags", NAMES.arn("ec2", "vpc/vpc-9"), {**IN_REGION, **NEW}),
        ("ec2:CreateTags", NAMES.arn("ec2", "security-group-rule/x"), {**IN_REGION, **NEW}),
        ("kms:TagResource", KEY, {**IN_REGION, **NEW, "aws:ResourceTag/Environment": "dev"}),
        ("kms:TagResource", KEY, {**IN_REGION, **NEW, "kms:ResourceAliases": "alias/other"}),
        (RECORDS, ZONE, {**IN_US_EAST_1, RECORD_NAMES: "www.gatehouse.example.com"}),
        ("elasticache:DeleteCacheParameterGroup", NAMES.arn("elasticache", "parametergroup:x")),
        ("apigateway:PATCH", f"{REST_API}/usageplans/x"),
        ("apigateway:PATCH", f"{REST_API}/account"),
        ("apigateway:DELETE", f"{REST_API}/domainnames/api.example.com"),
        ("apigateway:PUT", f"{REST_API}/tags/arn%3Aaws%3A%2Fapikeys%2Fx"),
        ("guardduty:DeleteDetector", "*"),
    ],
    PREVIEW: [
        ("s3:GetObject", f"{NAMES.bucket_arn('data')}/x"),
        ("s3:GetObjectVersion", f"{TRAIL}/x"),
        ("s3:ListBucket", "arn:aws:s3:::invoices"),
        ("dynamodb:GetItem dynamodb:Scan", NAMES.table_arn("tokens")),
        ("logs:GetLogEvents", NAMES.log_group_arn("/gatehouse/prod/gateway:log-stream:x")),
        ("logs:FilterLogEvents", NAMES.log_group_arn("/gatehouse/prod/gateway:*")),
        ("kms:Decrypt", KEY),
        ("rds-db:connect", NAMES.arn("rds-db", "dbuser:db-1/gatehouse_app")),
        (
            "ec2:GetConsoleOutput ec2:DescribeInstanceAttribute ec2:DescribeVpnConnections "
            "ec2:DescribeLaunchTemplateVersions wafv2:GetSampledRequests lambda:ListFunctions",
            "*",
        ),
        # Secrets and requests of the whole account.
        (
            "lambda:GetFunction lambda:GetFunctionConfiguration",
            NAMES.arn("lambda", "function:billing"),
        ),
        *(("apigateway:GET", f"{REST_API}/{path}") for path in ("apikeys", "apikeys/x")),
        ("apigateway:GET", f"{REST_API}/usageplans/x/keys/y"),
        ("s3:GetObject", f"{STATE}/.pulumi/stacks/gatehouse/dev.json"),
    ],
    IMAGE: [
        ("ecr:PutImage", NAMES.arn("ecr", "repository/gatehouse-dev-runtime")),
        ("ecr:PutImage", NAMES.arn("ecr", "repository/gatehouse-prod-files")),
        ("ecr:BatchDeleteImage ecr:SetRepositoryPolicy", REPOSITORY),
        ("ecs:UpdateService", SERVICE),
    ],
}
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
