"""The ceiling over every role of a stack: what none of them may ever do, whatever its own policy comes to say."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, Statement, allow, document, render
from components.naming import Naming
from components.tags import tags

IN_USE = (
    *("backup:CopyIntoBackupVault", "backup:DescribeBackupVault", "backup:TagResource"),
    *("cloudwatch:GetMetricData", "cloudwatch:PutMetricData"),
    *("dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteBackup", "dynamodb:DeleteItem"),
    *("dynamodb:Describe*", "dynamodb:GetItem", "dynamodb:ListTagsOfResource", "dynamodb:PutItem", "dynamodb:Query"),
    *("dynamodb:StartAwsBackupJob", "dynamodb:UpdateItem"),
    *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer"),
    *("elasticache:Connect",),
    *("elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:Describe*", "elasticloadbalancing:ModifyListener"),
    *("elasticloadbalancing:ModifyRule", "elasticloadbalancing:RegisterTargets"),
    *("events:DeleteRule", "events:DescribeRule", "events:DisableRule", "events:EnableRule", "events:ListTargetsByRule"),
    *("events:ListRules", "events:PutRule", "events:PutTargets", "events:RemoveTargets"),
    *("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:GetPublicKey"),
    *("kms:ReEncrypt*", "kms:Sign", "kms:Verify"),
    *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams"),
    *("logs:FilterLogEvents", "logs:GetLogEvents", "logs:PutLogEvents", "logs:PutRetentionPolicy"),
    *("rds-db:connect",),
    *("rds:AddTagsToResource", "rds:CopyDBSnapshot", "rds:CreateDBSnapshot", "rds:DeleteDBSnapshot", "rds:Describe*"),
    *("rds:ListTagsForResource",),
    *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:Get*", "s3:List*", "s3:PutBucketNotification"),
    *("s3:PutInventoryConfiguration", "s3:PutObject", "s3:PutObjectRetention", "s3:PutObjectTagging", "s3:Replicate*"),
    *("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"),
    *("secretsmanager:UpdateSecretVersionStage",),
    *("sns:Publish", "sqs:SendMessage", "tag:GetResources"),
    *("ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel"),
    *("ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"),
    *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
)
"""What roles of this program have a use for. It is wider than any one of them: each role's own policy names the ARNs."""

NEVER = {
    # Who may write policies or take another role can be anybody.
    "NoOtherIdentity": ("iam:*", "organizations:*", "account:*", "sts:AssumeRole*"),
    "NoHandOnTheEvidence": ("cloudtrail:*", "config:*", "guardduty:*", "securityhub:*", "access-analyzer:*"),
    "NoHandOnTheCopies": (
        *("backup:Delete*", "backup:DisassociateRecoveryPoint", "backup:PutBackupVault*", "backup:UpdateRecoveryPoint*"),
        *("s3:BypassGovernanceRetention", "s3:PutBucketObjectLockConfiguration"),
    ),
    "NoHandOnTheLocks": (
        *("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey*", "kms:UpdatePrimaryRegion"),
        *("s3:PutBucketPolicy", "s3:DeleteBucket*", "s3:PutBucketPublicAccessBlock", "s3:PutEncryptionConfiguration"),
        *("s3:PutBucketVersioning", "s3:PutBucketAcl", "s3:PutObjectAcl"),
        *("secretsmanager:PutResourcePolicy", "secretsmanager:DeleteSecret", "secretsmanager:DeleteResourcePolicy"),
        *("logs:DeleteLogGroup", "logs:DeleteDataProtectionPolicy", "logs:PutDataProtectionPolicy", "logs:Unmask"),
    ),
}
"""What no role does, by the reason. It stays refused when somebody widens `IN_USE`, or attaches this to a role."""


@dataclass(frozen=True, kw_only=True)
class PermissionsBoundaryArgs:
    """names: the stack's names. regions: where its roles work."""

    names: Naming
    regions: Sequence[str]


class PermissionsBoundary(pulumi.ComponentResource):
    """One managed policy that is the permissions boundary of every role here.

    Why: a role can do what its policies *and* this allow; a policy that is widened by mistake, or by whoever took over a
    deployment, still reaches no identity, no other region and no hand on trail, copies or locks. It also bounds what a key
    policy grants to a role. Cost: none. Controls: GH-IAM-007.
    """

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: PermissionsBoundaryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:iam:PermissionsBoundary", name, component_inputs(args), opts)
        policy = aws.iam.Policy(
            name,
            name=args.names.boundary,
            description="The most that any role of this stack may do",
            policy=render(boundary_policy(args.regions)),
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = policy.arn
        self.register_outputs({"arn": self.arn})


def boundary_policy(regions: Sequence[str]) -> Document:
    """The document. It grants nothing by itself (IAM user guide, "Permissions boundaries for IAM entities")."""
    inside = {"StringEquals": {"aws:RequestedRegion": list(dict.fromkeys(regions))}}
    return document(
        allow("InUseInOurRegions", IN_USE, ["*"], conditions=inside),
        *(_never(sid, actions) for sid, actions in NEVER.items()),
    )


def _never(sid: str, actions: Sequence[str]) -> Statement:
    """`document.deny` names a principal, which belongs to the policy of a resource."""
    return {"Sid": sid, "Effect": "Deny", "Action": list(actions), "Resource": ["*"]}
