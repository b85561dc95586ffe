"""Key policies of the KMS keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from components.iam.documents import Document, Statement, allow, document
from components.naming import Naming

SERVICES: Mapping[str, tuple[str, ...]] = {
    "data": ("rds", "dynamodb", "elasticache", "ecr", "s3"),
    "secrets": ("secretsmanager", "rds", "lambda", "sqs"),
    "logs": ("cloudtrail", "s3", "sns"),
    "backup": ("backup", "rds", "dynamodb", "s3"),
}
"""Services through which principals of the account may use each key. Direct use is not allowed."""

SIGNING_ALGORITHM = "ECDSA_SHA_256"
"""Signing algorithm of the audit key (NIST P-256). Signatures are verifiable with the public key alone."""

USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")

ADMINISTER = (
    *("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias", "kms:DescribeKey"),
    *("kms:GetKeyPolicy", "kms:GetKeyRotationStatus"),
    *("kms:PutKeyPolicy", "kms:EnableKey", "kms:DisableKey", "kms:EnableKeyRotation", "kms:DisableKeyRotation"),
    *("kms:UpdateKeyDescription", "kms:TagResource", "kms:UntagResource"),
    *("kms:ListResourceTags", "kms:ListKeyPolicies"),
    *("kms:ListGrants", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsers:
    """Users of the keys. Roles are given by resource name.

    names: Names of the stack.
    secret_readers: Roles that read each secret, by ARN pattern of the secret.
    table_roles: Roles that access the secret links table.
    rotation_role: Role of the rotation function.
    log_groups: Full names of the log groups that the `logs` key encrypts.
    signing_roles: Roles that sign with the audit key.
    additional_statements: Further statements by key; `replica` is the replica of the backup key.
    replica_region: Region of the backup key's replica, or "" without one.
    """

    names: Naming
    secret_readers: Mapping[str, tuple[str, ...]]
    table_roles: tuple[str, ...]
    rotation_role: str
    log_groups: tuple[str, ...]
    signing_roles: tuple[str, ...] = ()
    additional_statements: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    replica_region: str = ""


def key_policy(key: str, users: KeyUsers) -> Document:
    """Return the policy of a key. Source: KMS Developer Guide, "Key policies in AWS KMS"."""
    if key == "audit":
        return document(_administration(users.names), *_signers(users))
    builder = {"data": _data_users, "secrets": _secret_users, "logs": _log_users}.get(key)
    replication = _replication(users) if key == "backup" and users.replica_region else ()
    statements = builder(users) if builder else ()
    return document(*_account(key, users.names), *replication, *statements, *users.additional_statements.get(key, ()))


def replica_policy(users: KeyUsers) -> Document:
    """Return the policy of the backup key's replica: the same account and services, in the other region."""
    names = replace(users.names, region=users.replica_region)
    return document(*_account("backup", names), *users.additional_statements.get("replica", ()))


def _administration(names: Naming) -> Statement:
    return allow("AllowAccountAdministration", ADMINISTER, ["*"], principal={"AWS": names.root_arn})


def _replication(users: KeyUsers) -> tuple[Statement, ...]:
    """Allow the account to create the replica, in one region. Source: KMS Developer Guide, "Create multi-Region replica
    keys"."""
    return (
        allow(
            "AllowReplicaCreation",
            "kms:ReplicateKey",
            ["*"],
            principal={"AWS": users.names.root_arn},
            conditions={"StringEquals": {"kms:CallerAccount": users.names.account, "kms:ReplicaRegion": users.replica_region}},
        ),
    )


def _signers(users: KeyUsers) -> list[Statement]:
    """Allow exact roles to sign with one algorithm. IAM policies of the account can allow others to verify."""
    caller = {"kms:CallerAccount": users.names.account}
    return [
        allow(
            "SignCheckpoints",
            "kms:Sign",
            ["*"],
            principal={"AWS": [users.names.role_arn(role) for role in users.signing_roles]},
            conditions={"StringEquals": {**caller, "kms:SigningAlgorithm": SIGNING_ALGORITHM}},
        ),
        allow(
            "AllowSignersToGetPublicKey",
            "kms:GetPublicKey",
            ["*"],
            principal={"AWS": [users.names.role_arn(role) for role in users.signing_roles]},
            conditions={"StringEquals": caller},
        ),
        allow(
            "AllowSignatureVerification",
            "kms:GetPublicKey Verify",
            ["*"],
            principal={"AWS": users.names.root_arn},
            conditions={"StringEquals": caller},
        ),
    ]


def _account(key: str, names: Naming) -> list[Statement]:
    """Allow the account to administer the key, and to use it through services. The principal is the account, so each
    caller also needs an IAM policy."""
    services = [f"{service}.{names.region}.amazonaws.com" for service in SERVICES[key]]
    return [
        _administration(names),
        allow(
            "AllowUseThroughServices",
            USE,
            ["*"],
            principal={"AWS": names.root_arn},
            conditions={"StringEquals": {"kms:CallerAccount": names.account, "kms:ViaService": services}},
        ),
        allow(
            "AllowGrantsForAwsResources",
            "kms:CreateGrant",
            ["*"],
            principal={"AWS": names.root_arn},
            conditions={
                "Bool": {"kms:GrantIsForAWSResource": "true"},
                "StringEquals": {"kms:CallerAccount": names.account},
            },
        ),
    ]


def _data_users(users: KeyUsers) -> list[Statement]:
    names = users.names
    return [
        allow(
            "SecretLinksTable",
            "kms:Decrypt",
            ["*"],
            principal={"AWS": [names.role_arn(role) for role in users.table_roles]},
            conditions={
                "StringEquals": {
                    "kms:CallerAccount": names.account,
                    "kms:ViaService": f"dynamodb.{names.region}.amazonaws.com",
                    "kms:EncryptionContext:aws:dynamodb:tableName": names.name("tokens"),
                    "kms:EncryptionContext:aws:dynamodb:subscriberId": names.account,
                }
            },
        )
    ]


def _secret_users(users: KeyUsers) -> list[Statement]:
    names = users.names
    via_secrets_manager = {"kms:CallerAccount": names.account, "kms:ViaService": f"secretsmanager.{names.region}.amazonaws.com"}
    read = [
        allow(
            f"ReadSecret{number}",
            "kms:Decrypt",
            ["*"],
            principal={"AWS": [names.role_arn(role) for role in roles]},
            conditions={
                "StringEquals": via_secrets_manager,
                "StringLike": {"kms:EncryptionContext:SecretARN": secret},
            },
        )
        for number, (secret, roles) in enumerate(users.secret_readers.items(), start=1)
    ]
    rotate = allow(
        "RotateSecrets",
        "kms:Decrypt GenerateDataKey",
        ["*"],
        principal={"AWS": names.role_arn(users.rotation_role)},
        conditions={
            "StringEquals": via_secrets_manager,
            "StringLike": {"kms:EncryptionContext:SecretARN": names.secret_arn("*")},
        },
    )
    read_environment = allow(
        "RotationReadsEnvironment",
        "kms:Decrypt",
        ["*"],
        principal={"AWS": names.role_arn(users.rotation_role)},
        conditions={
            "StringEquals": {
                "kms:CallerAccount": names.account,
                "kms:EncryptionContext:aws:lambda:FunctionArn": names.arn(
                    "lambda", f"function:{names.name(users.rotation_role)}"
                ),
            }
        },
    )
    dead_letter_queue = allow(
        "RotationUsesDeadLetterQueue",
        "kms:Decrypt GenerateDataKey",
        ["*"],
        principal={"AWS": names.role_arn(users.rotation_role)},
        conditions={"StringEquals": {"kms:CallerAccount": names.account, "kms:ViaService": f"sqs.{names.region}.amazonaws.com"}},
    )
    return [*read, rotate, read_environment, dead_letter_queue]


def _log_users(users: KeyUsers) -> list[Statement]:
    names = users.names
    trail = names.arn("cloudtrail", f"trail/{names.name('trail')}")
    return [
        allow(
            "LogGroups",
            USE,
            ["*"],
            principal={"Service": f"logs.{names.region}.amazonaws.com"},
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": [names.log_group_arn(g) for g in users.log_groups]}},
        ),
        allow(
            "AllowCloudTrailEncryption",
            "kms:GenerateDataKey*",
            ["*"],
            principal={"Service": "cloudtrail.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": f"arn:aws:cloudtrail:*:{names.account}:trail/*"},
            },
        ),
        allow(
            "AllowCloudTrailDescribeKey",
            "kms:DescribeKey",
            ["*"],
            principal={"Service": "cloudtrail.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceArn": trail}},
        ),
        allow(
            "AllowCloudWatchAlarms",
            "kms:Decrypt GenerateDataKey*",
            ["*"],
            principal={"Service": "cloudwatch.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("cloudwatch", f"alarm:{names.name('*')}")},
            },
        ),
        allow(
            "AllowEventBridgeRules",
            "kms:Decrypt GenerateDataKey*",
            ["*"],
            principal={"Service": "events.amazonaws.com"},
            conditions={"ArnLike": {"aws:SourceArn": names.arn("events", f"rule/{names.name('*')}")}},
        ),
    ]
