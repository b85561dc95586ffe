"""Key policies of the KMS keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.iam.documents import (
    Conditions,
    Document,
    Statement,
    action_list,
    allow_key_use,
    document,
)
from components.naming import Naming

SERVICES: Mapping[str, tuple[str, ...]] = {
    "data": ("rds", "dynamodb", "elasticache", "ecr", "s3"),
    "secrets": ("secretsmanager", "rds", "lambda", "sqs"),
    "logs": ("cloudtrail", "s3", "sns"),
    "backup": ("backup", "rds", "dynamodb", "s3"),
}
"""Services through which principals of the account may use each key. Direct use is not allowed.
Keys that are not listed are used directly, by the roles that their key policies name."""

ALARM_TOPIC = "alarms"
ALARM_PUBLISHERS = {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}
"""Services that publish to the alarm topic: CloudWatch alarms and EventBridge rules."""

SIGNING_ALGORITHM = "ECDSA_SHA_256"
"""Signing algorithm of the audit key (NIST P-256). Signatures can be verified with only the public
key.
"""

USE = action_list("kms:Encrypt Decrypt ReEncrypt* GenerateDataKey* DescribeKey")
ADMINISTER = action_list(
    "kms:CreateAlias DeleteAlias UpdateAlias DescribeKey GetKeyPolicy GetKeyRotationStatus "
    "PutKeyPolicy EnableKey DisableKey EnableKeyRotation DisableKeyRotation UpdateKeyDescription "
    "TagResource UntagResource ListResourceTags ListKeyPolicies ListGrants RevokeGrant "
    "ScheduleKeyDeletion CancelKeyDeletion"
)
AWS_RESOURCE_GRANT = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
"""Condition on a grant that an AWS service needs for resources such as an encrypted volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsers:
    """Principals and log groups that use the keys. Roles are identified by resource name.

    names: Names, ARNs and tags of the stack's resources.
    secret_readers: Roles that read each secret, keyed by the ARN pattern of the secret.
    table_roles: Roles that access the secret links table.
    rotation_role: Role of the rotation function.
    log_groups: Full names of the log groups that the `logs` key encrypts.
    signing_roles: Roles that sign with the audit key.
    additional_statements: Further statements, keyed by KMS key. `replica` is the replica of the
        backup key.
    replica_region: Region of the backup key's replica, or "" if there is none.
    recovery_region: Region of the key for the replica of the pepper, or "" if there is none.
    """

    names: Naming
    secret_readers: Mapping[str, tuple[str, ...]]
    table_roles: tuple[str, ...]
    rotation_role: str
    log_groups: tuple[str, ...]
    signing_roles: tuple[str, ...] = ()
    additional_statements: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    replica_region: str = ""
    recovery_region: str = ""


def key_policy(key: str, users: KeyUsers) -> Document:
    """Return the policy of a key. Source: KMS Developer Guide, "Key policies in AWS KMS"."""
    if key not in SERVICES:
        # Only the principals in these statements can use the key: no statement delegates access to
        # IAM policies.
        direct_users = _signers(users) if key == "audit" else ()
        return document(
            _administration(users.names), *direct_users, *users.additional_statements.get(key, ())
        )
    builder = {"data": _data_users, "secrets": _secret_users, "logs": _log_users}.get(key)
    replication = _replication(users) if key == "backup" and users.replica_region else ()
    statements = builder(users) if builder else ()
    return document(
        *_account(SERVICES[key], users.names),
        *replication,
        *statements,
        *users.additional_statements.get(key, ()),
    )


def replica_policy(users: KeyUsers) -> Document:
    """Return the policy of the backup key's replica, which grants the same permissions to the
    account and to AWS services in the other region."""
    names = users.names.in_region(users.replica_region)
    return document(
        *_account(SERVICES["backup"], names), *users.additional_statements.get("replica", ())
    )


def recovery_policy(users: KeyUsers) -> Document:
    """Return the policy of the key for the replica of the pepper in the other region.

    Secrets Manager encrypts the replica on behalf of the deployment, and a new value on behalf of
    the rotation function. The rotation function of the stack that replaces this stack reads the
    replica with an IAM policy, because a key policy cannot name a role that does not exist yet.
    """
    names = users.names.in_region(users.recovery_region)
    rotation = {"AWS": users.names.role_arn(users.rotation_role)}
    secret = {"StringLike": {"kms:EncryptionContext:SecretARN": names.secret_arn("*")}}
    conditions = caller_conditions(names, "secretsmanager") | secret
    replicate = allow_key_use(
        "AllowReplicationOfNewValues", "kms:Encrypt GenerateDataKey", rotation, conditions
    )
    return document(*_account(("secretsmanager",), names), replicate)


def service_key_policy(names: Naming, services: Sequence[str]) -> Document:
    """Return the policy of a key that principals of the account use through these services, with
    the permission of an IAM policy. With `logs`, CloudWatch Logs can use the key for log groups of
    the stack."""
    log_groups = {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": names.log_group_arn(names.log_group("*"))}
    }
    principal = {"Service": f"logs.{names.region}.amazonaws.com"}
    logs = [allow_key_use("LogGroups", USE, principal, log_groups)] if "logs" in services else []
    return document(*_account([service for service in services if service != "logs"], names), *logs)


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

    bucket: Resource name of the bucket.
    principal: ARNs of roles.
    """
    conditions = caller_conditions(names, "s3", context={"aws:s3:arn": names.bucket_arn(bucket)})
    return allow_key_use(sid, actions, {"AWS": principal}, conditions)


def topic_key_use(
    sid: str, names: Naming, topic: str, publishers: Mapping[str, Sequence[str]]
) -> Statement:
    """Return a statement that allows AWS services to encrypt messages of one topic.

    SNS sets the topic ARN as the encryption context. The topic policy restricts the source, because
    key policies with a source condition are not supported for EventBridge (SNS Developer Guide,
    "Managing Amazon SNS encryption keys and costs").

    topic: Resource name of the topic.
    publishers: Principals of the services.
    """
    context = {
        "StringEquals": {
            "kms:EncryptionContext:aws:sns:topicArn": names.arn("sns", names.name(topic))
        }
    }
    return allow_key_use(sid, "kms:Decrypt GenerateDataKey*", publishers, context)


def distribution_key_statement(names: Naming, bucket: str) -> Statement:
    """Allow the account's distributions to decrypt objects of one bucket. Source: CloudFront
    Developer Guide, "SSE-KMS".

    bucket: Resource name of the bucket.
    """
    context = {"kms:EncryptionContext:aws:s3:arn": names.bucket_arn(bucket)}
    conditions = {"StringEquals": context, "ArnLike": {"aws:SourceArn": names.distributions_arn}}
    return allow_key_use(
        "AllowDistributions", "kms:Decrypt", {"Service": "cloudfront.amazonaws.com"}, conditions
    )


def read_environment(sid: str, names: Naming, role: str, function: str) -> Statement:
    """Allow Lambda to decrypt the environment variables of a function with the function's role."""
    arn = names.arn("lambda", f"function:{names.name(function)}")
    conditions = caller_conditions(names, context={"aws:lambda:FunctionArn": arn})
    return allow_key_use(sid, "kms:Decrypt", {"AWS": names.role_arn(role)}, conditions)


def _administration(names: Naming) -> Statement:
    return allow_key_use("AllowAccountAdministration", ADMINISTER, {"AWS": names.root_arn})


def _replication(users: KeyUsers) -> tuple[Statement, ...]:
    """Allow the account to create the replica in one region. Source: KMS Developer Guide, "Create
    multi-Region replica keys"."""
    conditions = {
        "StringEquals": {
            "kms:CallerAccount": users.names.account,
            "kms:ReplicaRegion": users.replica_region,
        }
    }
    return (
        allow_key_use(
            "AllowReplicaCreation", "kms:ReplicateKey", {"AWS": users.names.root_arn}, conditions
        ),
    )


def _signers(users: KeyUsers) -> list[Statement]:
    """Allow the signing roles to sign with one algorithm. IAM policies can allow other principals
    of the account to verify signatures."""
    account, own = {"AWS": users.names.root_arn}, caller_conditions(users.names)
    signers = {"AWS": [users.names.role_arn(role) for role in users.signing_roles]}
    sign = {"StringEquals": {**own["StringEquals"], "kms:SigningAlgorithm": SIGNING_ALGORITHM}}
    return [
        allow_key_use("SignCheckpoints", "kms:Sign", signers, sign),
        allow_key_use("AllowSignersToGetPublicKey", "kms:GetPublicKey", signers, own),
        allow_key_use("AllowSignatureVerification", "kms:GetPublicKey Verify", account, own),
    ]


def _account(services: Sequence[str], names: Naming) -> list[Statement]:
    """Allow the account to administer the key, and to use it through services. The principal is the
    account, so each caller also needs an IAM policy."""
    account = {"AWS": names.root_arn}
    return [
        _administration(names),
        allow_key_use("AllowUseThroughServices", USE, account, caller_conditions(names, *services)),
        allow_key_use(
            "AllowGrantsForAwsResources",
            "kms:CreateGrant",
            account,
            AWS_RESOURCE_GRANT | caller_conditions(names),
        ),
    ]


def _data_users(users: KeyUsers) -> list[Statement]:
    names = users.names
    table = {
        "aws:dynamodb:tableName": names.name("tokens"),
        "aws:dynamodb:subscriberId": names.account,
    }
    roles = {"AWS": [names.role_arn(role) for role in users.table_roles]}
    return [
        allow_key_use(
            "SecretLinksTable",
            "kms:Decrypt",
            roles,
            caller_conditions(names, "dynamodb", context=table),
        )
    ]


def _secret_users(users: KeyUsers) -> list[Statement]:
    names, rotation = users.names, {"AWS": users.names.role_arn(users.rotation_role)}
    encrypt = "kms:Decrypt GenerateDataKey"

    def of_secret(arn: str) -> Conditions:
        return caller_conditions(names, "secretsmanager") | {
            "StringLike": {"kms:EncryptionContext:SecretARN": arn}
        }

    return [
        *(
            allow_key_use(
                f"ReadSecret{number}",
                "kms:Decrypt",
                {"AWS": [names.role_arn(role) for role in roles]},
                of_secret(secret),
            )
            for number, (secret, roles) in enumerate(users.secret_readers.items(), start=1)
        ),
        allow_key_use("RotateSecrets", encrypt, rotation, of_secret(names.secret_arn("*"))),
        read_environment(
            "RotationReadsEnvironment", names, users.rotation_role, users.rotation_role
        ),
        allow_key_use(
            "RotationUsesDeadLetterQueue", encrypt, rotation, caller_conditions(names, "sqs")
        ),
    ]


def _log_users(users: KeyUsers) -> list[Statement]:
    names = users.names
    log_groups = [names.log_group_arn(group) for group in users.log_groups]
    cloud_trail = {"Service": "cloudtrail.amazonaws.com"}
    trail = {
        "StringEquals": {"aws:SourceArn": names.arn("cloudtrail", f"trail/{names.name('trail')}")}
    }
    trails = {
        "kms:EncryptionContext:aws:cloudtrail:arn": names.any_arn("cloudtrail", "trail/*", "*")
    }
    return [
        allow_key_use(
            "LogGroups",
            USE,
            {"Service": f"logs.{names.region}.amazonaws.com"},
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
        ),
        allow_key_use(
            "AllowCloudTrailEncryption",
            "kms:GenerateDataKey*",
            cloud_trail,
            {**trail, "StringLike": trails},
        ),
        allow_key_use("AllowCloudTrailDescribeKey", "kms:DescribeKey", cloud_trail, trail),
        topic_key_use("AllowAlarmTopicPublishers", names, ALARM_TOPIC, ALARM_PUBLISHERS),
    ]
