"""Key policies of the KMS keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.context import Stack
from components.iam.documents import Document, Statement, action_list, allow_key_use, document
from components.naming import DEPLOY, PREVIEW, WEB_UI_BUCKET, Naming

SERVICES: Mapping[str, tuple[str, ...]] = {
    "data": ("rds", "dynamodb", "elasticache", "ecr", "s3"),
    "secrets": ("secretsmanager", "rds", "lambda", "sqs"),
    "logs": ("cloudtrail", "s3"),
    "backup": ("backup", "rds", "dynamodb", "s3"),
}
"""Services through which principals of the account may use each key. Direct use is not allowed.
Keys that are not listed are used directly, by the roles that their key policies name."""

USE = action_list("kms:Encrypt Decrypt ReEncrypt* GenerateDataKey* DescribeKey")
ADMINISTER = action_list(
    "kms:CreateAlias DeleteAlias UpdateAlias DescribeKey GetKeyPolicy GetKeyRotationStatus "
    "PutKeyPolicy EnableKey DisableKey EnableKeyRotation DisableKeyRotation UpdateKeyDescription "
    "TagResource UntagResource ListResourceTags ListKeyPolicies ListGrants RevokeGrant "
    "ScheduleKeyDeletion CancelKeyDeletion"
)
AWS_RESOURCE_GRANT = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
"""Condition on a grant that an AWS service needs for resources such as an encrypted volume."""


KeyStatements = Mapping[str, Sequence[Statement]]
"""Statements of the principals that use the keys, keyed by KMS key. `replica` is the replica of the
backup key.
"""


def key_policy(key: str, stack: Stack, statements: KeyStatements) -> Document:
    """Return the policy of a key. Source: KMS Developer Guide, "Key policies in AWS KMS"."""
    users = statements.get(key, ())
    if key not in SERVICES:
        # Only the principals in these statements can use the key: no statement delegates access to
        # IAM policies.
        return document(administration(stack.names), *users)
    region = stack.settings.replica_region if key == "backup" else ""
    replication = [_replication(stack.names, region)] if region else []
    return document(*_account(SERVICES[key], stack.names), *replication, *users)


def replica_policy(stack: Stack, statements: KeyStatements) -> Document:
    """Return the policy of the backup key's replica, which grants the same permissions to the
    account and to AWS services in the other region."""
    names = stack.names.in_region(stack.settings.replica_region)
    return document(*_account(SERVICES["backup"], names), *statements.get("replica", ()))


def recovery_policy(stack: Stack, rotation_role: str) -> Document:
    """Return the policy of the key for the replica of the pepper in the other region.

    Secrets Manager encrypts the replica on behalf of the deployment, and a new value on behalf of
    the rotation function. The rotation function of the stack that replaces this stack reads the
    replica with an IAM policy, because a key policy cannot name a role that does not exist yet.
    """
    names = stack.names.in_region(stack.settings.recovery_region)
    rotation = {"AWS": stack.names.role_arn(rotation_role)}
    secret = {"StringLike": {"kms:EncryptionContext:SecretARN": names.secret_arn("*")}}
    conditions = caller_conditions(names, "secretsmanager") | secret
    replicate = allow_key_use(
        "AllowReplicationOfNewValues", "kms:Encrypt GenerateDataKey", rotation, conditions
    )
    return document(*_account(("secretsmanager",), names), replicate)


def caller_conditions(
    names: Naming, *services: str, context: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return conditions on the account, the AWS services through which the account uses the key,
    and the encryption context.
    """
    via = names.via_services(services)
    keys = {
        "kms:CallerAccount": names.account,
        **({"kms:ViaService": via if len(via) > 1 else via[0]} if via else {}),
    }
    return {
        "StringEquals": keys
        | {f"kms:EncryptionContext:{key}": value for key, value in (context or {}).items()}
    }


def bucket_key_use(
    sid: str, names: Naming, bucket: str, actions: str, principal: str | Sequence[str]
) -> Statement:
    """Return a statement that allows S3 to use the key for objects of one bucket on behalf of
    `principal`.

    With an S3 Bucket Key, the encryption context is the bucket ARN instead of the object ARN (S3
    User Guide, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys").
    """
    conditions = caller_conditions(names, "s3", context={"aws:s3:arn": names.bucket_arn(bucket)})
    return allow_key_use(sid, actions, {"AWS": principal}, conditions)


def distribution_key_statement(names: Naming) -> Statement:
    """Allow the account's distributions to decrypt the files of the web UI. Source: CloudFront
    Developer Guide, "SSE-KMS".
    """
    context = {"kms:EncryptionContext:aws:s3:arn": names.bucket_arn(WEB_UI_BUCKET)}
    conditions = {"StringEquals": context, "ArnLike": {"aws:SourceArn": names.distributions_arn}}
    return allow_key_use(
        "AllowDistributions", "kms:Decrypt", {"Service": "cloudfront.amazonaws.com"}, conditions
    )


def read_environment(sid: str, stack: Stack, role: str, function: str) -> Statement:
    """Allow Lambda to decrypt the environment variables of a function with the function's role, and
    with the roles of the pipeline. Without it, a preview receives no variables and shows all of
    them as changed. AWS does not document whether the ARN of a published version contains its
    number.
    """
    names = stack.names
    arn = names.arn("lambda", f"function:{names.name(function)}")
    context = {"StringLike": {"kms:EncryptionContext:aws:lambda:FunctionArn": [arn, f"{arn}:*"]}}
    conditions = caller_conditions(names) | context
    pipeline = (PREVIEW, DEPLOY) if stack.settings.delivery.repository else ()
    readers = [names.role_arn(reader) for reader in (role, *pipeline)]
    return allow_key_use(sid, "kms:Decrypt", {"AWS": readers}, conditions)


def administration(names: Naming) -> Statement:
    return allow_key_use("AllowAccountAdministration", ADMINISTER, {"AWS": names.root_arn})


def _replication(names: Naming, region: str) -> Statement:
    """Allow the account to create the replica in one region. Source: KMS Developer Guide, "Create
    multi-Region replica keys"."""
    account = {"AWS": names.root_arn}
    conditions = {"StringEquals": {"kms:CallerAccount": names.account, "kms:ReplicaRegion": region}}
    return allow_key_use("AllowReplicaCreation", "kms:ReplicateKey", account, conditions)


def _account(services: Sequence[str], names: Naming) -> list[Statement]:
    """Allow the account to administer the key, and to use it through services. The principal is the
    account, so each caller also needs an IAM policy."""
    account = {"AWS": names.root_arn}
    return [
        administration(names),
        allow_key_use("AllowUseThroughServices", USE, account, caller_conditions(names, *services)),
        allow_key_use(
            "AllowGrantsForAwsResources",
            "kms:CreateGrant",
            account,
            AWS_RESOURCE_GRANT | caller_conditions(names),
        ),
    ]
