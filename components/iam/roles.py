"""The IAM roles of a stack and their permissions boundary."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, with_dependencies
from components.context import Stack
from components.iam.documents import (
    Conditions,
    Document,
    action_list,
    allow,
    deny,
    document,
    render,
)
from components.iam.object_policies import legacy_file_arns
from components.iam.role_policies import (
    DATABASE,
    MIGRATE,
    NETWORK_INTERFACES,
    OWNER_OF_PASSWORD,
    PEPPER,
    RoleDefinition,
)
from components.iam.sharing_roles import api_log_groups
from components.naming import Naming, tags
from components.settings.model import Settings

USED = tuple(
    action
    for actions in (
        "backup:CopyFromBackupVault CopyIntoBackupVault DescribeBackupVault TagResource",
        "cloudwatch:GetMetricData PutMetricData",
        "dynamodb:BatchGetItem CreateBackup DeleteBackup Describe* GetItem ListTagsOfResource "
        "PutItem Query StartAwsBackupJob UpdateItem",
        "ecr:BatchCheckLayerAvailability BatchGetImage GetAuthorizationToken "
        "GetDownloadUrlForLayer",
        "ecs:Describe* RunTask TagResource UpdateService",
        "elasticloadbalancing:*registerTargets Describe* ModifyListener ModifyRule",
        "events:*Rule ListTargetsByRule ListRules PutTargets RemoveTargets",
        "kms:CreateGrant Decrypt DescribeKey Encrypt GenerateDataKey* GetPublicKey ReEncrypt* Sign",
        "lambda:InvokeFunction",
        "logs:CreateLogGroup CreateLogStream DescribeLog* FilterLogEvents GetLogEvents "
        "PutLogEvents PutRetentionPolicy",
        "rds:AddTagsToResource CopyDBSnapshot CreateDBSnapshot DeleteDBSnapshot Describe* "
        "ListTagsForResource",
        "s3:DeleteObjectVersion Get* List* PutBucketNotification PutInventoryConfiguration "
        "PutObject Replicate*",
        "secretsmanager:DescribeSecret GetSecretValue PutSecretValue UpdateSecretVersionStage",
        "ses:SendEmail",
        "sns:Publish",
        "sqs:SendMessage",
        "tag:GetResources",
        "xray:PutT*",
    )
    for action in action_list(actions)
)
"""Actions that at least one role of the stack needs."""

DENIED = {
    # A principal that writes policies or assumes other roles can obtain any permission.
    "DenyIdentityChanges": ("iam:*", "organizations:*", "account:*", "sts:AssumeRole*"),
    "DenyAuditChanges": tuple(
        f"{service}:*"
        for service in ("cloudtrail", "config", "guardduty", "securityhub", "access-analyzer")
    ),
    "DenyBackupChanges": (
        *action_list(
            "backup:Delete* DisassociateRecoveryPoint PutBackupVault* UpdateRecoveryPoint*"
        ),
        *action_list("s3:BypassGovernanceRetention PutBucketObjectLockConfiguration"),
    ),
    "DenyProtectionChanges": (
        *action_list("kms:PutKeyPolicy ScheduleKeyDeletion DisableKey* UpdatePrimaryRegion"),
        *action_list(
            "s3:PutBucketPolicy DeleteBucket* PutBucketPublicAccessBlock "
            "PutEncryptionConfiguration PutBucketVersioning PutBucketAcl PutObjectAcl"
        ),
        *action_list("secretsmanager:PutResourcePolicy DeleteSecret DeleteResourcePolicy"),
        *action_list(
            "logs:DeleteLogGroup DeleteDataProtectionPolicy PutDataProtectionPolicy Unmask"
        ),
    ),
}
"""Actions that every role is denied, keyed by statement ID."""


class PermissionsBoundary(StackComponent):
    """The managed policy that every role of the stack has as its permissions boundary.

    Why: Even with an overly permissive policy, a role cannot modify IAM, assume other roles, use
    other regions, change AWS audit services, delete backups, weaken the protection of keys,
    buckets, secrets and logs, or access most resources of others. The boundary also limits
    permissions granted by key policies.
    """

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, stack, opts)
        policy = aws.iam.Policy(
            name,
            name=self.names.name("boundary"),
            description="Permissions boundary of all roles in this stack",
            policy=render(boundary_policy(self.names, self.settings)),
            tags=tags("internal"),
            opts=self.child,
        )
        self.arn = policy.arn
        self.register_outputs({})


class Roles(StackComponent):
    """One role for each purpose, with a single inline policy that lists exact ARNs.

    Why: A compromised application is limited to the permissions of its own role. No AWS managed
    policies are attached, because they grant access to all resources.
    """

    arns: dict[str, pulumi.Output[str]]
    """ARNs of the roles, keyed by resource name. Each resolves after the role's policy exists."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        definitions: Mapping[str, RoleDefinition],
        boundary_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        self.arns = {
            role: self._role(role, definition, boundary_arn)
            for role, definition in definitions.items()
        }
        self.register_outputs({})

    def _role(
        self, name: str, definition: RoleDefinition, boundary_arn: pulumi.Input[str]
    ) -> pulumi.Output[str]:
        role = aws.iam.Role(
            name,
            name=self.names.name(name),
            path=self.names.role_path,
            description=definition.description,
            assume_role_policy=render(definition.trust_policy),
            permissions_boundary=boundary_arn,
            tags=tags("internal"),
            opts=self.child,
        )
        if definition.permissions is None:
            return role.arn
        policy = aws.iam.RolePolicy(
            name,
            name="permissions",
            role=role.name,
            policy=render(definition.permissions),
            opts=self.child,
        )
        return with_dependencies(role.arn, policy.id)


def boundary_policy(names: Naming, settings: Settings) -> Document:
    """Return the boundary document. The deploy role creates roles with this boundary, which must
    not reach what the deploy role cannot: the trail and resources of others, except topics and
    data keys, which settings and AWS name.
    """
    regions = [settings.region, *settings.other_regions]
    used = [*USED, *(action_list(NETWORK_INTERFACES) if settings.probes_in_vpc else ())]
    trail = [f"{names.bucket_arn('trail')}*", f"{names.log_group_arn(names.log_group('trail'))}*"]
    trail_changes = (
        *action_list("s3:DeleteObjectVersion PutBucketNotification PutInventory*"),
        "logs:PutRetentionPolicy",
    )
    regional = {"StringEquals": {"aws:RequestedRegion": regions}}
    # Requests without most global condition keys (tests/external_contracts.toml).
    logins = ["elasticache:Connect", "rds-db:connect"]
    targets = ("elasticache:{}:*", f"rds-db:{{}}:*/{DATABASE}_*")
    connections = [f"arn:aws:{row.format(region)}" for row in targets for region in regions]
    objects = "s3:*Object* ListBucket* Replicate* PutBucketNotification PutInventoryConfiguration"
    denied = [
        *action_list(objects),
        *action_list("events:*Rule *Targets"),
        *action_list("ecr:Batch* GetDownloadUrlForLayer"),
        *action_list("elasticloadbalancing:Deregister* Modify* Register*"),
        *action_list("logs:Create* Filter* Get* Put*"),
        *action_list("rds:Add* Copy* Create* Delete*"),
        *("dynamodb:*", "ecs:*", "elasticache:*", "lambda:*", "secretsmanager:*", "sqs:*"),
    ]
    groups = [names.log_group("*"), "RDSOSMetrics*"]
    groups += api_log_groups(names) if settings.sharing.api_gateway_log_role else ()
    kinds = {"dynamodb": "table/", "ecr": "repository/", "ecs": "*/", "elasticache": "*:"}
    kinds |= {"elasticloadbalancing": "*/", "lambda": "function:", "rds": "db:", "sqs": ""}
    own = [
        names.s3_arn(names.name("*")),
        *(names.any_arn(name, f"{kind}{names.name('*')}", "*") for name, kind in kinds.items()),
        *legacy_file_arns(names, settings.legacy_files),
        *(names.any_arn("logs", f"log-group:{group}", "*") for group in groups),
        *(names.secret_arn("*"), names.managed_secret_arn),
        names.of_stack(settings.recovery.restore.stack or names.stack).secret_arn(PEPPER),
        # AWS Backup creates these rules and snapshots.
        names.any_arn("events", "rule/AwsBackupManagedRule*", "*"),
        names.any_arn("rds", "snapshot:awsbackup:*", "*"),
    ]
    passwords = [names.managed_secret_arn]
    # The function of the migration passes the roles of a task. No other call has this key.
    not_to_ecs: Conditions = {
        "StringNotEqualsIfExists": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }
    conditions = {"DenyIdentityChanges": not_to_ecs}
    unconditional = [*connections, names.role_arn(f"{MIGRATE}-*")]
    of_others: Conditions = {"StringNotEquals": {OWNER_OF_PASSWORD: names.database_arn}}
    # AWS services create grants on other keys.
    other_keys: Conditions = {
        "Null": {"kms:ViaService": "true"},
        "ForAllValues:StringNotLike": {"kms:ResourceAliases": names.alias("*")},
    }
    return document(
        allow("AllowUsedActions", used, ["*"], conditions=regional),
        allow("AllowConnections", [*logins, "iam:PassRole"], unconditional),
        *(
            deny(sid, actions, ["*"], principal=None, conditions=conditions.get(sid))
            for sid, actions in DENIED.items()
        ),
        deny("DenyTrailChanges", trail_changes, trail, principal=None),
        # When the object lock of a replaced file ends, the lifecycle deletes the file.
        deny("DenyLogs", "s3:PutObject Replicate*", [names.s3_arn("*/AWSLogs/*")], principal=None),
        deny("DenyPasswords", "secretsmanager:*", passwords, principal=None, conditions=of_others),
        deny("DenyKeys", "kms:CreateGrant Sign", ["*"], principal=None, conditions=other_keys),
        {"Sid": "DenyOthers", "Effect": "Deny", "Action": denied, "NotResource": own},
    )
