"""What the pipeline's roles may do: look at the stack, change it, push its images; as documents made from names alone.

Whatever holds evidence, sets the bounds of roles or guards the whole account is an administrator's act: the first `up` of a
stack is made by one, and later ones only when such a thing changes (docs/guides/deploy.md).
"""

import re
from collections.abc import Iterable, Sequence

from components.delivery import deploy_permissions
from components.delivery.deploy_permissions import Pipeline, acts
from components.iam.documents import Conditions, Document, Statement, allow, deny, document
from components.naming import PROJECT, Naming

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
PREVIEW, DEPLOY, IMAGE = "preview", "deploy", "image"
BOUNDARY = "deploy-boundary"
"""Name (Naming.name's `thing`) of the policy that bounds these roles; that of the stack's own roles is Naming.boundary."""
HAND_OVER = "iam:PassRole"
POLICY_CHARACTERS_MAX = 6144
"""Of a managed policy, without white space (IAM user guide, "IAM and AWS STS quotas")."""


def trusted(pipeline: Pipeline, environment: str) -> Document:
    """Jobs of this one environment of this one repository take the role, for a session of their own.

    A job that names an environment has it in its subject, in the place of branch or pull request (GitHub, "OpenID Connect
    reference"); who may start such a job is a rule of the environment at GitHub.
    """
    return document(
        {
            "Sid": "AllowGitHubToAssumeRole",
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn(pipeline.names)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{ISSUER}:aud": AUDIENCE,
                    f"{ISSUER}:sub": f"repo:{pipeline.repository}:environment:{environment}",
                }
            },
        }
    )


def environment(role: str, names: Naming) -> str:
    """The GitHub environment whose jobs take the role: that of the stack deploys, those beside it do the rest."""
    return names.environment if role == DEPLOY else f"{names.environment}-{role}"


def provider_arn(names: Naming) -> str:
    """GitHub as an identity provider: an account has one, whichever stack made it."""
    return f"arn:aws:iam::{names.account}:oidc-provider/{ISSUER}"


def policies(pipeline: Pipeline) -> dict[str, Document]:
    """Every managed policy by name (Naming.name's `thing`)."""
    found = {
        "deploy-look": document(_look(pipeline)),
        "deploy-state": document(*_state(pipeline, writes=True)),
        "preview-state": document(*_state(pipeline, writes=False)),
        "deploy-network": document(*deploy_permissions.network(pipeline)),
        "deploy-stores": document(*deploy_permissions.keys(pipeline), *deploy_permissions.stores(pipeline)),
        "deploy-run": document(*deploy_permissions.roles(pipeline), *deploy_permissions.run(pipeline)),
        "deploy-edge": document(*deploy_permissions.edge(pipeline)),
        "deploy-watch": document(*deploy_permissions.watch(pipeline)),
        "deploy-never": document(*_never(pipeline)),
        "image-push": document(*_push(pipeline)),
    }
    return {name: policy for name, policy in found.items() if policy["Statement"]}


def attached(role: str, names: Iterable[str]) -> tuple[str, ...]:
    """Which of the policies a role has: those that bear its name, and the look for whoever previews."""
    return tuple(name for name in names if name.startswith(f"{role}-") or (role == PREVIEW and name == "deploy-look"))


def boundary(pipeline: Pipeline) -> Document:
    """What these roles can never exceed, whatever is attached to them: the verbs of their own policies."""
    own = [policy for name, policy in policies(pipeline).items() if not name.endswith(("-state", "-never"))]
    verbs = {_coarse(action) for policy in own for row in policy["Statement"] for action in row["Action"]}
    patterns = sorted(verb[:-1] for verb in verbs if verb.endswith("*"))
    kept = sorted(verb for verb in verbs if not any(verb.startswith(one) and verb != f"{one}*" for one in patterns))
    state = [row for row in _state(pipeline, writes=True) if row["Sid"] in ("State", "Metadata", "StateKey")]
    handed = {"StringLike": {"iam:PassedToService": "*.amazonaws.com"}}
    return document(
        allow("Actions", [verb for verb in kept if verb != HAND_OVER], ["*"], conditions=pipeline.here),
        allow("PassRoles", [HAND_OVER], ["*"], conditions=handed),
        *state,
    )


_SET_UP_ALONE = frozenset(
    (
        *("acm", "application-autoscaling", "budgets", "ce", "cloudwatch", "ec2", "ecr", "ecs", "elasticache"),
        *("elasticloadbalancing", "events", "lambda", "rds", "route53", "servicediscovery", "sns", "sqs", "wafv2"),
    )
)
"""Services whose calls set things up and read no data of ours: there the first word of a call says enough for a bound, which
has to fit into one policy."""
_HARMLESS = {"cloudtrail": ("Get", "List"), "iam": ("Get", "List"), "kms": ("Get", "List", "Update")}
"""Services of which the same is true for these first words."""


def _coarse(action: str) -> str:
    service, _, call = action.partition(":")
    word = re.match(r"[A-Z][a-z]+", call)
    enough = service in _SET_UP_ALONE or call.startswith(_HARMLESS.get(service, ()))
    return f"{service}:{word[0]}*" if word and enough else action


def _never(pipeline: Pipeline) -> list[Statement]:
    """What a deployment must not do even where its other policies, or a mistake in them, would let it."""
    names = pipeline.names
    trail = names.bucket_arn("trail")
    own = ("Add", "Attach", "Create", "Delete", "Detach", "Pass", "Put", "Remove", "Set", "Tag", "Untag", "Update")
    bounded = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    return [
        _deny(
            "DenySelfEscalation",
            [f"iam:{verb}*" for verb in own],
            [
                *(names.role_arn(role) for role in (PREVIEW, DEPLOY, IMAGE)),
                *pipeline.arns("iam", f"policy/{names.name('*')}", "oidc-provider/*", everywhere=True),
            ],
        ),
        _deny("DenyBoundaryRemoval", ["iam:DeleteRolePermissionsBoundary"], ["*"]),
        _deny("DenyUnboundedRoles", bounded, ["*"], {"StringNotEquals": {"iam:PermissionsBoundary": names.boundary_arn}}),
        _deny(
            "DenyTrailBucketChanges",
            acts("s3", "Bypass* DeleteBucket* DeleteObject* PutBucket* PutEncryption* PutLifecycle* PutObject* PutReplication*"),
            [trail, f"{trail}/*"],
        ),
        _deny(
            "DenyTrailAndVaultChanges",
            [
                *acts("cloudtrail", "Create* Delete* Put* Stop* Update*"),
                *acts("backup", "DeleteBackupVault* DeleteRecovery* PutBackup*"),
            ],
            ["*"],
        ),
        _deny(
            "DenyDataDeletion",
            [
                *acts("kms", "DisableKey ScheduleKeyDeletion"),
                *("dynamodb:DeleteTable", "rds:DeleteDBInstance", "s3:DeleteBucket", "secretsmanager:DeleteSecret"),
            ],
            ["*"],
        ),
        _deny("DenySecretAccess", ["secretsmanager:GetSecretValue", "sts:AssumeRole"], ["*"]),
    ]


def _deny(sid: str, actions: Sequence[str], resources: Sequence[str], conditions: Conditions | None = None) -> Statement:
    """A deny in a policy of a role, which names no principal."""
    statement = deny(sid, actions, resources, conditions=conditions)
    del statement["Principal"]
    return statement


def _look(pipeline: Pipeline) -> Statement:
    """How everything is set up, and nothing that is kept in it: no object, item, message, log line or secret value."""
    reads = {
        "access-analyzer": "Get* List*",
        "acm": "Describe* ListTags*",
        "apigateway": "GET",
        "application-autoscaling": "Describe* List*",
        "backup": "Describe* Get* List*",
        "budgets": "View* ListTags*",
        "ce": "GetAnomalyMonitors GetAnomalySubscriptions ListTags*",
        "cloudtrail": "DescribeTrails GetTrail* GetEventSelectors GetInsightSelectors ListTags",
        "cloudwatch": "Describe* GetDashboard ListTags*",
        "config": "Describe*",
        "dynamodb": "Describe* ListTags* GetResourcePolicy",
        "ec2": "Describe* GetManagedPrefixList* GetEbsEncryptionByDefault GetEbsDefaultKmsKeyId GetSecurityGroups*",
        "ecr": "Describe* GetLifecyclePolicy GetRepositoryPolicy ListTags*",
        "ecs": "Describe* List*",
        "elasticache": "Describe* ListTags*",
        "elasticloadbalancing": "Describe*",
        "events": "Describe* List*",
        "guardduty": "Get* List*",
        "iam": "GetAccountPasswordPolicy GetOpenIDConnectProvider GetPolicy* GetRole* ListAttachedRole* ListPolicy* ListRole* "
        "ListInstanceProfilesForRole",
        "kms": "Describe* GetKey* GetPublicKey ListAliases ListKeyPolicies ListResourceTags",
        "lambda": "GetAlias GetFunction* GetPolicy ListTags ListVersions*",
        "logs": "Describe* GetDataProtectionPolicy ListTags*",
        "rds": "Describe* ListTags*",
        "route53": "GetChange GetHealthCheck GetHostedZone ListHostedZones* ListResourceRecordSets ListTags*",
        "s3": "GetAccelerate* GetAccountPublicAccessBlock GetBucket* GetEncryption* GetLifecycle* GetReplication* ListBucket "
        "ListTagsForResource",
        "secretsmanager": "DescribeSecret GetResourcePolicy ListSecretVersionIds",
        "securityhub": "Describe* Get*",
        "servicediscovery": "Get* List*",
        "sns": "Get* ListSubscriptionsByTopic ListTags*",
        "sqs": "GetQueueAttributes GetQueueUrl ListQueueTags",
        "wafv2": "Get* List*",
    }
    actions = [action for service, verbs in reads.items() for action in acts(service, verbs)]
    return allow("ReadConfiguration", actions, ["*"], conditions=pipeline.here)


def _state(pipeline: Pipeline, *, writes: bool) -> list[Statement]:
    """Pulumi's state of this stack in its bucket. A preview takes no lock there, so it writes nothing. Source: the layout of
    Pulumi's own backend on object storage (.pulumi/<kind>/<project>/<stack>)."""
    if not pipeline.state:
        return []
    bucket, stack = f"arn:aws:s3:::{pipeline.state}", f"{PROJECT}/{pipeline.names.environment}"
    own = [f"{bucket}/.pulumi/*{stack}{end}" for end in (".*", "/*")]
    verbs = "DeleteObject GetObject PutObject" if writes else "GetObject"
    found = [
        allow("ListState", ["s3:ListBucket"], [bucket]),
        allow("State", acts("s3", verbs), own),
        allow("Metadata", ["s3:GetObject"], [f"{bucket}/.pulumi/meta.yaml"]),
    ]
    if pipeline.state_key:
        found.append(
            allow("StateKey", acts("kms", "Decrypt GenerateDataKey Encrypt" if writes else "Decrypt"), [pipeline.state_key])
        )
    return found


def _push(pipeline: Pipeline) -> list[Statement]:
    """Images into this stack's own repositories, and what the scan found; nothing is overwritten or removed."""
    repositories = [pipeline.names.arn("ecr", f"repository/{pipeline.names.name('*')}")]
    push = (
        "BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload DescribeImage* GetDownloadUrlForLayer InitiateLayerUpload "
        "PutImage UploadLayerPart"
    )
    return [
        # GetAuthorizationToken knows no resource (Service Authorization Reference, Amazon ECR).
        allow("LogInToEcr", ["ecr:GetAuthorizationToken"], ["*"], conditions=pipeline.here),
        allow("PushImages", acts("ecr", push), repositories),
    ]
