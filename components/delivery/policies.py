"""Policy documents of the pipeline's roles: preview, deployment and image push.

The roles cannot change a trail, its log files, log group, alarms or KMS key, the alarm topic,
permissions boundaries, roles of operators or account-wide settings. An administrator runs the first
`pulumi up` of a stack and every later update that changes such a resource (docs/guides/deploy.md).
"""

import re
from collections.abc import Iterable

from components.delivery import deploy_data, deploy_services, read_access
from components.delivery.scope import ANY, IMAGE, Delivery
from components.iam.documents import Document, Statement, allow, deny, document
from components.iam.role_policies import TRAIL_LOG
from components.naming import DEPLOY, PREVIEW, PROJECT, Naming

AUDIENCE = "sts.amazonaws.com"
BOUNDARY = "deploy-boundary"
"""Name of the permissions boundary of these roles. The stack's other roles have
`Naming.boundary_arn`.
"""


def trust_policy(args: Delivery, role: str) -> Document:
    """Return the trust policy of a role for jobs with its subjects, or for jobs of its environments
    of the repository on GitHub.

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
    subjects = [
        subject
        for entry in delivery.subjects
        for name, _, subject in (entry.partition("="),)
        if name == role
    ] or [
        f"repo:{repository}:environment:{name}"
        for repository in repositories
        for name in github_environments(role, args.names)
    ]
    issuer = delivery.issuer
    return document(
        {
            "Sid": "AllowJobsToAssumeRole",
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn(args.names, issuer)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer}:aud": AUDIENCE, f"{issuer}:sub": subjects}},
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


def provider_arn(names: Naming, issuer: str) -> str:
    return names.any_arn("iam", f"oidc-provider/{issuer}")


def policies(args: Delivery) -> dict[str, Document]:
    """Return the managed policies, keyed by name, except policies without statements. Each
    statement is limited to ARNs with the stack's name or to resources with the stack's tags.
    Actions that support neither are limited to the stack's regions.
    """
    documents = {
        "deploy-network": deploy_data.network(args),
        "deploy-stores": [*deploy_data.keys(args), *deploy_data.stores(args)],
        "deploy-compute": [*deploy_services.roles(args), *deploy_services.compute(args)],
        "deploy-edge": deploy_services.edge(args),
        "deploy-cloudfront": deploy_services.cloudfront(args),
        "deploy-monitoring": deploy_services.monitoring(args),
        "deploy-read": read_access.read_statements(args),
        "deploy-deny": _denials(args),
        "image-push": _push(args),
        "deploy-state": _deploy_state(args),
        "preview-state": _state(args, "s3:GetObject", "kms:Decrypt"),
    }
    return {name: document(*rows) for name, rows in documents.items() if rows}


def _deploy_state(args: Delivery) -> list[Statement]:
    return _state(
        args, "s3:DeleteObject GetObject PutObject", "kms:Decrypt GenerateDataKey Encrypt"
    )


def _denials(delivery: Delivery) -> list[Statement]:
    """Explicit denies, which also apply if another policy of the role is too permissive. The roles
    of the operators have no permissions boundary.
    """
    names = delivery.names
    trail_bucket, trail_group = names.bucket_arn("trail"), names.log_group("trail")
    administrators = [names.role_arn(role) for role in (PREVIEW, DEPLOY, IMAGE, TRAIL_LOG)]
    other_boundary = {"StringNotEquals": {"iam:PermissionsBoundary": names.boundary_arn}}

    def statement(sid: str, *actions: str, resources: list[str] | None = None) -> Statement:
        return deny(sid, actions, resources or ANY, principal=None)

    return [
        statement(
            "DenySelfEscalation",
            "iam:Add* Attach* Create* Delete* Detach* Pass* Put* Remove* Set* Tag* Untag* Update*",
            resources=[
                *administrators,
                *delivery.settings.secrets.operators,
                names.any_arn("iam", f"policy/{delivery.all}"),
                names.any_arn("iam", "oidc-provider/*"),
            ],
        ),
        statement("DenyBoundaryRemoval", "iam:DeleteRolePermissionsBoundary"),
        deny(
            "DenyUnboundedRoles",
            "iam:AttachRolePolicy CreateRole PutRolePermissionsBoundary PutRolePolicy",
            ANY,
            principal=None,
            conditions=other_boundary,
        ),
        statement(
            "DenyTrailBucketChanges",
            "s3:Bypass* DeleteBucket* DeleteObject* PutBucket* PutEncryption* PutLifecycle* "
            "PutObject* PutReplication*",
            resources=[trail_bucket, f"{trail_bucket}/*"],
        ),
        statement(
            "DenyTrailLogAndAlarmChanges",
            "logs:Associate* Delete* Disassociate* Put* Tag* Untag*",
            "cloudwatch:Delete* Disable* Put* Set* Tag* Untag*",
            resources=[
                *delivery.arns("logs", f"log-group:{trail_group}", f"log-group:{trail_group}:*"),
                *delivery.arns("cloudwatch", f"alarm:{names.name('cis-*')}"),
            ],
        ),
        statement(
            "DenyTrailAndVaultChanges",
            "cloudtrail:Create* Delete* Put* Stop* Update*",
            "backup:DeleteBackupVault* DeleteRecovery* PutBackup*",
        ),
        statement(
            "DenyDataDeletion",
            *("kms:DisableKey ScheduleKeyDeletion", "dynamodb:DeleteTable", "rds:DeleteDBInstance"),
            *("s3:DeleteBucket", "secretsmanager:DeleteSecret"),
        ),
        statement("DenySecretAccess", "secretsmanager:GetSecretValue", "sts:AssumeRole"),
    ]


def _state(delivery: Delivery, object_actions: str, key_actions: str) -> list[Statement]:
    """The stack's Pulumi state in S3. A preview takes no lock, so it needs no write access.

    The self-managed backend of Pulumi stores files as `.pulumi/<kind>/<project>/<stack>`. `*` in
    place of the kind would match folders of other stacks.
    """
    bucket, key = delivery.settings.delivery.state_bucket, delivery.settings.delivery.state_key_arn
    if not bucket:
        return []
    stack = delivery.names.stack
    statements = [
        allow("ListState", "s3:ListBucket", delivery.s3_arns(bucket)),
        allow(
            "State",
            object_actions,
            delivery.s3_arns(
                f"{bucket}/.pulumi/stacks/{PROJECT}/{stack}.*",
                f"{bucket}/.pulumi/backups/{PROJECT}/{stack}/*",
                f"{bucket}/.pulumi/history/{PROJECT}/{stack}/*",
                f"{bucket}/.pulumi/locks/organization/{PROJECT}/{stack}/*",
            ),
        ),
        allow("Metadata", "s3:GetObject", delivery.s3_arns(f"{bucket}/.pulumi/meta.yaml")),
    ]
    return [*statements, *([allow("StateKey", key_actions, [key])] if key else [])]


def _push(delivery: Delivery) -> list[Statement]:
    """Push images of Gatehouse and read scan findings, but not delete or overwrite images.
    GetAuthorizationToken does not support resource-level permissions (Service Authorization
    Reference, Amazon ECR).
    """
    repository = delivery.names.arn("ecr", f"repository/{delivery.names.name('runtime')}")
    return [
        delivery.regional("LogInToEcr", "ecr:GetAuthorizationToken"),
        allow(
            "PushImages",
            "ecr:BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload DescribeImage* "
            "GetDownloadUrlForLayer InitiateLayerUpload PutImage UploadLayerPart",
            [repository],
        ),
    ]


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
    documents = policies(args)
    granted = [
        row
        for name, policy in documents.items()
        if not name.endswith(("-state", "-deny"))
        for row in policy["Statement"]
        if row["Sid"] != "ReadChat"
    ]
    actions = {_boundary_action(action) for row in granted for action in row["Action"]}
    prefixes = sorted(action[:-1] for action in actions if action.endswith("*"))
    minimal = sorted(
        action
        for action in actions
        if not any(action.startswith(prefix) and action != f"{prefix}*" for prefix in prefixes)
    )
    state = [row for row in _deploy_state(args) if row["Sid"] != "ListState"]
    aws_services = {"StringLike": {"iam:PassedToService": "*.amazonaws.com"}}
    functions = args.names.arn("lambda", f"function:{args.names.name('*')}")
    keys = args.names.any_arn("kms", "key/*", "*")
    environments = {"StringLike": {"kms:EncryptionContext:aws:lambda:FunctionArn": functions}}
    return document(
        args.regional("Actions", [action for action in minimal if action != "iam:PassRole"]),
        allow("PassRoles", "iam:PassRole", ANY, conditions=aws_services),
        # Granted by the policy of the KMS key.
        allow("ReadEnvironments", "kms:Decrypt", [keys], conditions=environments),
        *read_access.read_chat(args),
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
