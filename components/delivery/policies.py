"""Policy documents of the pipeline's roles: preview, deployment and image push.

The roles cannot change a trail, its log files, log group, alarms or KMS key, the alarm topic,
permissions boundaries, roles of operators or account-wide settings. An administrator runs the first
`pulumi up` of a stack and every later update that changes such a resource (docs/guides/deploy.md).
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial

from components.delivery import deploy_permissions
from components.delivery.deploy_permissions import Delivery
from components.iam.documents import Document, Statement, action_list, allow, deny, document
from components.iam.role_policies import TRAIL_LOG
from components.naming import DEPLOY, PREVIEW, PROJECT, WEB_UI_BUCKET, Naming

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
IMAGE = "image"
BOUNDARY = "deploy-boundary"
"""Name of the permissions boundary of these roles. The stack's other roles have
`Naming.boundary_arn`.
"""


def trust_policy(args: Delivery, environments: Sequence[str]) -> Document:
    """Return a trust policy for jobs of these environments of the repository.

    The subject of a job with an environment contains the environment instead of the branch or pull
    request, and, for repositories created or renamed since 2026-07-15, the IDs of the owner and the
    repository (tests/external_contracts.toml). The protection rules of the environment on GitHub
    define who can start the job.
    """
    delivery = args.settings.delivery
    repositories = [delivery.repository]
    if delivery.repository and delivery.owner_id and delivery.repository_id:
        owner, _, name = delivery.repository.partition("/")
        repositories.append(f"{owner}@{delivery.owner_id}/{name}@{delivery.repository_id}")
    return document(
        {
            "Sid": "AllowGitHubToAssumeRole",
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn(args.names)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{ISSUER}:aud": AUDIENCE,
                    f"{ISSUER}:sub": [
                        f"repo:{repository}:environment:{name}"
                        for repository in repositories
                        for name in environments
                    ],
                }
            },
        }
    )


def github_environments(role: str, names: Naming) -> tuple[str, ...]:
    """Return the GitHub environments whose jobs assume the role, such as `prod` for `deploy`.

    `preview` has two environments. Jobs in `prod-preview` run code from a pull request, so that
    environment has reviewers. Jobs in `prod-drift` run on a schedule.
    """
    if role == DEPLOY:
        return (names.stack,)
    purposes = (PREVIEW, "drift") if role == PREVIEW else (role,)
    return tuple(f"{names.stack}-{purpose}" for purpose in purposes)


def provider_arn(names: Naming) -> str:
    return names.any_arn("iam", f"oidc-provider/{ISSUER}")


def policies(args: Delivery) -> dict[str, Document]:
    """Return the managed policies, keyed by name, except policies without statements."""
    documents = {
        "deploy-read": document(
            _read_configuration(args), *_read_own_resources(args), *_read_chat(args)
        ),
        "deploy-state": document(*_state(args, writes=True)),
        "preview-state": document(*_state(args, writes=False)),
        "deploy-network": document(*deploy_permissions.network(args)),
        "deploy-stores": document(*deploy_permissions.keys(args), *deploy_permissions.stores(args)),
        "deploy-compute": document(
            *deploy_permissions.roles(args), *deploy_permissions.compute(args)
        ),
        "deploy-edge": document(*deploy_permissions.edge(args)),
        "deploy-cloudfront": document(*deploy_permissions.cloudfront(args)),
        "deploy-monitoring": document(*deploy_permissions.monitoring(args)),
        "deploy-deny": document(*_denied_actions(args)),
        "image-push": document(*_push_images(args)),
    }
    return {name: policy for name, policy in documents.items() if policy["Statement"]}


def attached_policies(role: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a role's policies: those that begin with the role's name and, for
    `preview`, also `deploy-read`.
    """
    return tuple(
        name
        for name in names
        if name.startswith(f"{role}-") or (role == PREVIEW and name == "deploy-read")
    )


def boundary(args: Delivery) -> Document:
    """Return the permissions boundary of these roles: the actions of all their policies, shortened
    to patterns.
    """
    chat = _read_chat(args)
    granted = [
        row
        for name, policy in policies(args).items()
        if not name.endswith(("-state", "-deny"))
        for row in policy["Statement"]
        if row not in chat
    ]
    actions = {_boundary_action(action) for row in granted for action in row["Action"]}
    prefixes = sorted(action[:-1] for action in actions if action.endswith("*"))
    minimal = sorted(
        action
        for action in actions
        if not any(action.startswith(prefix) and action != f"{prefix}*" for prefix in prefixes)
    )
    state = [
        row for row in _state(args, writes=True) if row["Sid"] in ("State", "Metadata", "StateKey")
    ]
    aws_services = {"StringLike": {"iam:PassedToService": "*.amazonaws.com"}}
    functions = args.names.arn("lambda", f"function:{args.names.name('*')}")
    environments = {"StringLike": {"kms:EncryptionContext:aws:lambda:FunctionArn": functions}}
    return document(
        allow(
            "Actions",
            [action for action in minimal if action != "iam:PassRole"],
            ["*"],
            conditions=args.region_condition,
        ),
        allow("PassRoles", ["iam:PassRole"], ["*"], conditions=aws_services),
        # Granted by the policy of the KMS key.
        args.grant("ReadEnvironments", "kms", "Decrypt", "key/*", conditions=environments),
        *chat,
        *state,
    )


_WHOLE_SERVICES = [
    "application-autoscaling",
    "cloudfront",
    "elasticloadbalancing",
    "servicediscovery",
    "wafv2",
]
"""Services whose APIs neither read customer data nor grant permissions. The boundary allows all
their actions, to stay within the size limit of a policy."""
_CONFIGURATION_SERVICES = [
    "acm",
    "budgets",
    "cloudwatch",
    "ec2",
    "ecr",
    "ecs",
    "elasticache",
    "events",
    "lambda",
    "rds",
    "route53",
    "sns",
    "sqs",
]
"""Services whose APIs read no customer data. The boundary contains only the first word of their
actions."""
_CONFIGURATION_ACTIONS = {
    "cloudtrail": ("Get", "List"),
    "iam": ("Get", "List"),
    "kms": ("Get", "List", "Update"),
}
"""First words of other services' actions that read no customer data."""


def _boundary_action(action: str) -> str:
    """Return `wafv2:*` for an action of AWS WAF, `ec2:Create*` for `ec2:CreateSubnet`, or the
    action itself if the service also reads data.
    """
    service, _, name = action.partition(":")
    if service in _WHOLE_SERVICES:
        return f"{service}:*"
    word = re.match(r"[A-Z][a-z]+", name)
    shortened = service in _CONFIGURATION_SERVICES or name.startswith(
        _CONFIGURATION_ACTIONS.get(service, ())
    )
    return f"{service}:{word[0]}*" if word and shortened else action


def _denied_actions(args: Delivery) -> list[Statement]:
    """Return explicit denies, which also apply if another policy of the role is too permissive."""
    names, trail = args.names, args.names.bucket_arn("trail")
    # The roles of the operators have no permissions boundary.
    administrator_roles = [
        *(names.role_arn(role) for role in (PREVIEW, DEPLOY, IMAGE, TRAIL_LOG)),
        *args.settings.secrets.operators,
    ]
    own_policies = args.arns(
        "iam", f"policy/{names.name('*')}", "oidc-provider/*", global_service=True
    )
    unbounded = {"StringNotEquals": {"iam:PermissionsBoundary": names.boundary_arn}}
    identity_changes = (
        "iam:Add* Attach* Create* Delete* Detach* Pass* Put* Remove* Set* Tag* Untag* Update*"
    )
    role_grants = "iam:AttachRolePolicy CreateRole PutRolePermissionsBoundary PutRolePolicy"
    bucket_changes = (
        "s3:Bypass* DeleteBucket* DeleteObject* PutBucket* PutEncryption* "
        "PutLifecycle* PutObject* PutReplication*"
    )
    trail_group = names.log_group("trail")
    log_and_alarm_changes = (
        *action_list("logs:Associate* Delete* Disassociate* Put* Tag* Untag*"),
        *action_list("cloudwatch:Delete* Disable* Put* Set* Tag* Untag*"),
    )
    logs_and_alarms = [
        *args.arns("logs", f"log-group:{trail_group}", f"log-group:{trail_group}:*"),
        *args.arns("cloudwatch", f"alarm:{names.name('cis-*')}"),
    ]
    trail_changes = action_list("cloudtrail:Create* Delete* Put* Stop* Update*")
    vault_changes = action_list("backup:DeleteBackupVault* DeleteRecovery* PutBackup*")
    deny_action = partial(deny, principal=None)
    deletions = (
        "dynamodb:DeleteTable",
        "rds:DeleteDBInstance",
        "s3:DeleteBucket",
        "secretsmanager:DeleteSecret",
    )
    return [
        deny_action("DenySelfEscalation", identity_changes, [*administrator_roles, *own_policies]),
        deny_action("DenyBoundaryRemoval", "iam:DeleteRolePermissionsBoundary", ["*"]),
        deny_action("DenyUnboundedRoles", role_grants, ["*"], conditions=unbounded),
        deny_action("DenyTrailBucketChanges", bucket_changes, [trail, f"{trail}/*"]),
        deny_action("DenyTrailLogAndAlarmChanges", log_and_alarm_changes, logs_and_alarms),
        deny_action("DenyTrailAndVaultChanges", [*trail_changes, *vault_changes], ["*"]),
        deny_action(
            "DenyDataDeletion",
            [*action_list("kms:DisableKey ScheduleKeyDeletion"), *deletions],
            ["*"],
        ),
        deny_action("DenySecretAccess", ["secretsmanager:GetSecretValue", "sts:AssumeRole"], ["*"]),
    ]


def _read_configuration(args: Delivery) -> Statement:
    """Allow reading the configuration of resources, but no object, item, message, log event,
    sampled request, user data or secret value. The statement also covers the variables of ECS task
    definitions and the origin headers of CloudFront distributions of others in the account:
    ecs:DescribeTaskDefinition supports no ARNs, and CloudFront generates its IDs.
    """
    reads = {
        "acm": "Describe* ListTags*",
        "application-autoscaling": "Describe* List*",
        "backup": "Describe* Get* List*",
        "budgets": "View* ListTags*",
        **({"cloudfront": "Describe* Get* List*"} if args.cloudfront else {}),
        "cloudtrail": "DescribeTrails GetTrail* GetEventSelectors GetInsightSelectors ListTags",
        "cloudwatch": "Describe* GetDashboard ListTags*",
        "dynamodb": "Describe* ListTags* GetResourcePolicy",
        "ec2": (
            "DescribeAddresses* DescribeFlowLogs DescribeInternetGateways DescribeManagedPrefix* "
            "DescribeNatGateways DescribeNetworkAcls DescribeNetworkInterfaces "
            "DescribePrefixLists DescribeRegions DescribeRouteTables DescribeSecurityGroup* "
            "DescribeSubnets DescribeTags DescribeVpc* GetManagedPrefixList* GetSecurityGroups*"
        ),
        "ecr": "Describe* GetLifecyclePolicy GetRepositoryPolicy ListTags*",
        "ecs": "Describe* List*",
        "elasticache": "Describe* ListTags*",
        "elasticloadbalancing": "Describe*",
        "events": "Describe* List*",
        "iam": (
            "GetOpenIDConnectProvider GetPolicy* GetRole* ListAttachedRole* ListPolicy* "
            "ListRole* ListInstanceProfilesForRole"
        ),
        "kms": "Describe* GetKey* GetPublicKey ListAliases ListKeyPolicies ListResourceTags",
        "logs": (
            f"Describe* GetDataProtectionPolicy "
            f"ListTags*{' GetDelivery*' if args.cloudfront else ''}"
        ),
        "rds": "Describe* ListTags*",
        "route53": (
            "GetChange GetHealthCheck GetHostedZone ListHostedZones* "
            "ListResourceRecordSets ListTags*"
        ),
        "s3": (
            "GetAccelerate* GetBucket* GetEncryption* GetLifecycle* GetReplication* "
            "ListTagsForResource"
        ),
        "secretsmanager": "DescribeSecret GetResourcePolicy ListSecretVersionIds",
        "servicediscovery": "Get* List*",
        "sns": "GetSubscription* GetTopic* ListSubscriptionsByTopic ListTags*",
        "sqs": "GetQueueAttributes GetQueueUrl ListQueueTags",
        "wafv2": "GetIPSet GetLogging* GetWebACL* ListTags*",
    }
    actions = [
        action for service, verbs in reads.items() for action in action_list(f"{service}:{verbs}")
    ]
    return allow("ReadConfiguration", actions, ["*"], conditions=args.region_condition)


def _read_own_resources(args: Delivery) -> list[Statement]:
    """Allow reading the functions, the names of the objects and the files of the web UI, which are
    public, of the stack, and the REST APIs of the account, whose IDs are generated.
    """
    names = args.names
    buckets = (names.s3_arn(names.name("*")), names.s3_arn(names.edge_log_bucket))
    files = f"{names.bucket_arn(WEB_UI_BUCKET)}/*"
    read_files = args.grant("ReadWebUi", "s3", "GetObject GetObjectTagging", files)
    return [
        args.grant("ListBuckets", "s3", "ListBucket", *buckets),
        args.grant(
            "ReadFunctions",
            "lambda",
            "GetAlias GetFunction* GetPolicy ListTags ListVersions*",
            f"function:{names.name('*')}",
        ),
        args.regional("ReadRestApis", "apigateway", "GET", *args.rest_apis("/account")),
        *([read_files] if args.cloudfront else []),
    ]


def _read_chat(args: Delivery) -> list[Statement]:
    """Allow reading the Slack channel, in a region of its own. An administrator creates and changes
    it."""
    if not args.settings.monitoring.slack_channel:
        return []
    return [args.grant("ReadChat", "chatbot", "Describe* ListTagsForResource")]


def _state(args: Delivery, *, writes: bool) -> list[Statement]:
    """Return permissions for the stack's Pulumi state in S3. A preview takes no lock, so it needs
    no write access.

    Source: Pulumi's self-managed backend stores files as `.pulumi/<kind>/<project>/<stack>`. `*` in
    place of the kind would match folders of other stacks.
    """
    if not args.settings.delivery.state_bucket:
        return []
    bucket = args.names.s3_arn(args.settings.delivery.state_bucket)
    stack = f"{PROJECT}/{args.names.stack}"
    folders = [f"{kind}/{stack}/*" for kind in ("backups", "history", "locks/organization")]
    objects = [f"{bucket}/.pulumi/{path}" for path in (f"stacks/{stack}.*", *folders)]
    verbs = "DeleteObject GetObject PutObject" if writes else "GetObject"
    statements = [
        allow("ListState", "s3:ListBucket", [bucket]),
        allow("State", f"s3:{verbs}", objects),
        allow("Metadata", "s3:GetObject", [f"{bucket}/.pulumi/meta.yaml"]),
    ]
    if args.settings.delivery.state_key_arn:
        use_key = "kms:Decrypt GenerateDataKey Encrypt" if writes else "kms:Decrypt"
        statements.append(allow("StateKey", use_key, [args.settings.delivery.state_key_arn]))
    return statements


def _push_images(args: Delivery) -> list[Statement]:
    """Return permissions to push images of Gatehouse and read scan findings, but not to delete or
    overwrite images."""
    push = (
        "BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload DescribeImage* "
        "GetDownloadUrlForLayer InitiateLayerUpload PutImage UploadLayerPart"
    )
    repository = args.names.arn("ecr", f"repository/{args.names.name('runtime')}")
    return [
        # GetAuthorizationToken does not support resource-level permissions (Service Authorization
        # Reference, Amazon ECR).
        args.regional("LogInToEcr", "ecr", "GetAuthorizationToken"),
        args.grant("PushImages", "ecr", push, repository),
    ]
