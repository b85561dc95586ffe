"""Policy documents of the pipeline's roles: preview, deployment and image push.

The roles cannot change a trail, its log files, log group, alarms or KMS key, the alarm topic,
permissions boundaries, roles of operators or account-wide settings. An administrator runs the first
`pulumi up` of a stack and every later update that changes such a resource (docs/guides/deploy.md).
"""

import re
from collections.abc import Iterable, Sequence

from components.delivery.statements import ROWS, Delivery
from components.iam.documents import Document, allow, document
from components.naming import DEPLOY, PREVIEW, Naming

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
STATE = {
    "state_object_actions": "DeleteObject GetObject PutObject",
    "state_key_actions": "Decrypt GenerateDataKey Encrypt",
}
STATE_OF_PREVIEW = {"state_object_actions": "GetObject", "state_key_actions": "Decrypt"}
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
    documents = {name: document(*args.statements(name)) for name in ROWS if name != "state"}
    documents["deploy-state"] = document(*args.statements("state", **STATE))
    documents["preview-state"] = document(*args.statements("state", **STATE_OF_PREVIEW))
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
    rows = [row for policy in documents.values() for row in policy["Statement"]]
    chat = [row for row in rows if row["Sid"] == "ReadChat"]
    state = [row for row in args.statements("state", **STATE) if row["Sid"] != "ListState"]
    aws_services = {"StringLike": {"iam:PassedToService": "*.amazonaws.com"}}
    functions = args.names.arn("lambda", f"function:{args.names.name('*')}")
    keys = args.names.any_arn("kms", "key/*", "*")
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
        allow("ReadEnvironments", "kms:Decrypt", [keys], conditions=environments),
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
